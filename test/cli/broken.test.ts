/** Every broken input through the program: its exit code, one line, nothing written. */
import { afterAll, describe, expect, test } from "bun:test"
import { existsSync, mkdirSync, readdirSync } from "node:fs"
import { brokenInputs } from "../support/broken.ts"
import { temporaryFolder } from "../support/checkpoints.ts"
import { run } from "./program.ts"

/** One line, of printable text only. */
function expectOneLine(stderr: string, says: RegExp): void {
  expect(stderr).toMatch(/^dequantizer: [^\n]+\n$/)
  expect(stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/)
  expect(stderr).toMatch(says)
  expect(stderr.length).toBeLessThan(2000)
}

describe("broken inputs", () => {
  let tried = 0
  afterAll(() => console.log(`${tried} malformed inputs tried by inspect and convert, each refused in one line`))

  test.each(brokenInputs.map((input) => [input.name, input] as const))("%s", async (_name, input) => {
    using folder = temporaryFolder()
    mkdirSync(folder.file("in"))
    const path = input.build(folder.file("in"))

    const inspected = await run(["inspect", path])
    expectOneLine(inspected.stderr, input.says)
    expect(inspected.exitCode).toBe(input.exitCode)

    const before = readdirSync(folder.path)
    const converted = await run(["convert", path, "-o", folder.file("out")])
    expect(converted.stdout).toBe("")
    expectOneLine(converted.stderr, input.says)
    expect(converted.exitCode).toBe(input.exitCode)
    expect(existsSync(folder.file("out"))).toBe(false)
    expect(readdirSync(folder.path)).toEqual(before)
    tried += 1
  })
})

describe("paths", () => {
  test.each([
    [["inspect", "no/such/file.safetensors"]],
    [["verify", "no/such/folder"]],
    [["convert", "no/such/folder", "-o", "out"]],
    [["./missing.safetensors"]],
  ])("%j is an I/O error", async (args) => {
    using folder = temporaryFolder()
    const { stdout, stderr, exitCode } = await run(args, { cwd: folder.path })
    expect(stdout).toBe("")
    expect(stderr).toMatch(/^dequantizer: (no\/such\/(file.safetensors|folder)|\.\/missing.safetensors): .*\n$/)
    expect(exitCode).toBe(5)
    expect(readdirSync(folder.path)).toEqual([])
  })

  test("an empty folder, a device and a pipe are refused at once", async () => {
    using folder = temporaryFolder()
    expect((await run(["inspect", folder.path])).exitCode).toBe(3)
    for (const path of ["/dev/null", "/dev/zero", "/dev/stdin"]) {
      const { stderr, exitCode } = await run(["inspect", path])
      expect(stderr).toMatch(/^dequantizer: \/dev\/(null|zero|stdin): .*\n$/)
      expect([3, 5]).toContain(exitCode)
    }
  })
})
