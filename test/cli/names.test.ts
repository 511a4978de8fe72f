/** Names that no tidy person gives: what they hold works, or is said in one line that is safe to print. */
import { expect, test } from "bun:test"
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { temporaryFolder } from "../support/checkpoints.ts"
import { writeGptOssFolder } from "../support/models.ts"
import { run, shell } from "./program.ts"

/** A path with bytes that are no UTF-8. */
function notUtf8(folder: string, ...rest: readonly string[]): Buffer {
  return Buffer.concat([Buffer.from(`${folder}/a`), Buffer.from([0xff, 0xfe]), Buffer.from(rest.join(""))])
}

test("a side file of such a name is left out, and said to be", async () => {
  using folder = temporaryFolder()
  const [input, output] = [folder.file("in"), folder.file("out")]
  writeGptOssFolder(input, {}, 2)
  writeFileSync(notUtf8(input, ".txt"), "text")
  mkdirSync(notUtf8(input, "-folder"))
  writeFileSync(notUtf8(input, "-folder/x.txt"), "text")
  const { stdout, stderr, exitCode } = await run(["convert", input, "-o", output])
  expect({ stderr, exitCode }).toMatchObject({ exitCode: 0 })
  expect(stdout + stderr).toMatch(/a\ufffd\ufffd\.txt/)
  expect(stdout + stderr).toMatch(/a\ufffd\ufffd-folder\//)
  expect(readdirSync(output).filter((name) => name.startsWith("a"))).toEqual([])
  expect(existsSync(join(output, "config.json"))).toBe(true)
})

test("a path that cannot be given is told so", async () => {
  using folder = temporaryFolder()
  writeGptOssFolder(folder.file("in"), {}, 2)
  const script = `d=$(printf 'a\\377'); mv in "$d"; exec "$BIN" convert "$d" -o out`
  const { stdout, stderr, exitCode } = await shell(script, { cwd: folder.path })
  expect({ stdout, exitCode }).toEqual({ stdout: "", exitCode: 5 })
  expect(stderr).toBe(
    "dequantizer: a\ufffd: no such file or folder; names that are not UTF-8 cannot be used: rename it\n",
  )
  expect(readdirSync(folder.path)).toHaveLength(1)
})

test("control characters in paths work, and never reach the terminal", async () => {
  using folder = temporaryFolder()
  const name = `a\nb  "$(c)\t\u001b[31m\u202e`
  const [input, output] = [folder.file(join(name, "in")), folder.file(join(name, "out"))]
  writeGptOssFolder(input, {}, 2)
  for (const args of [
    ["inspect", input],
    ["convert", input, "-o", output],
    ["verify", output, "--source", input, "--full"],
    ["convert", input, "-o", output],
    ["inspect", folder.file(join(name, "nothing"))],
  ]) {
    const { stdout, stderr } = await run(args)
    expect(stdout + stderr).toContain(String.raw`a\nb  "$(c)\t\x1b[31m\u202e`)
    expect(stdout + stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/)
  }
  expect(readdirSync(folder.path)).toEqual([name])
  expect(readdirSync(folder.file(name)).toSorted()).toEqual(["in", "out"])
})
