import { describe, expect, test } from "bun:test"
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { type TemporaryFolder, temporaryFolder, writeSafetensors } from "../support/checkpoints.ts"
import { gptOssTensors, writeGptOssFolder } from "../support/models.ts"
import { run } from "./program.ts"

/** A source file and its conversion. */
async function converted(folder: TemporaryFolder): Promise<{ source: string; output: string }> {
  const [source, output] = [folder.file("in.safetensors"), folder.file("out.safetensors")]
  writeSafetensors(source, gptOssTensors())
  expect((await run(["convert", source, "-o", output, "-q"])).exitCode).toBe(0)
  return { source, output }
}

/** Flips one bit, counted from the end of the file. */
function flipBit(path: string, bytesFromEnd: number): void {
  const bytes = readFileSync(path)
  const at = bytes.length - bytesFromEnd
  bytes[at] = (bytes[at] ?? 0) ^ 1
  writeFileSync(path, bytes)
}

describe("verify", () => {
  test("an output that is right", async () => {
    using folder = temporaryFolder()
    const { source, output } = await converted(folder)
    for (const extent of [[], ["--full"], ["--sample", "2"]]) {
      const { stdout, stderr, exitCode } = await run(["verify", output, "--source", source, ...extent])
      expect(stdout).toContain("equal, bit for bit")
      expect(stderr).toBe("")
      expect(exitCode).toBe(0)
    }
    const { stdout } = await run(["verify", output, "--source", source, "--full", "--json"])
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({
      schema: 1,
      ok: true,
      problems: [],
      tensors: 37,
      mismatches: 0,
      first_mismatch: null,
    })
    expect(report.elements_compared).toBe(report.elements_total)
    expect((await run(["verify", output, "--source", source, "-q"])).stdout).toBe("")
  })

  test("a folder against its folder", async () => {
    using folder = temporaryFolder()
    writeGptOssFolder(folder.file("in"))
    await run(["convert", folder.file("in"), "-o", folder.file("out"), "--to", "f16"])
    const { stdout, exitCode } = await run(["verify", folder.file("out"), "--source", folder.file("in"), "--full"])
    expect(stdout).toContain("equal, bit for bit")
    expect(exitCode).toBe(0)
  })

  test("without a source only the structure is checked", async () => {
    using folder = temporaryFolder()
    const { output } = await converted(folder)
    const { stdout, exitCode } = await run(["verify", output])
    expect(stdout).toContain("the structure is sound")
    expect(exitCode).toBe(0)
    writeFileSync(output, readFileSync(output).subarray(0, -1))
    const cut = await run(["verify", output])
    expect(cut.stderr).toMatch(/^dequantizer: [^\n]+\n$/)
    expect(cut.exitCode).toBe(3)
  })

  test("one flipped bit is named: tensor, index, expected and found", async () => {
    using folder = temporaryFolder()
    const { source, output } = await converted(folder)
    flipBit(output, 2)
    const { stdout, stderr, exitCode } = await run(["verify", output, "--source", source, "--full"])
    expect(stdout).toContain("NOT EQUAL")
    expect(stderr).toMatch(/^dequantizer: \S*out\.safetensors: tensor "[^"]+": (element|byte) \d+ differs [^\n]+\n$/)
    expect(stderr).toMatch(/\(expected 0x[0-9a-f]+, found 0x[0-9a-f]+\)\n$/)
    expect(exitCode).toBe(1)
    const json = await run(["verify", output, "--source", source, "--full", "--json"])
    const report = JSON.parse(json.stdout)
    expect(report).toMatchObject({ ok: false, mismatches: 1 })
    expect(report.first_mismatch.found_bits ^ report.first_mismatch.expected_bits).toBe(1)
    expect(json.exitCode).toBe(1)
    // The quiet form says no less about a failure.
    const quiet = await run(["verify", output, "--source", source, "--full", "-q"])
    expect([quiet.stdout, quiet.stderr, quiet.exitCode]).toEqual(["", stderr, 1])
  })

  test("an output of another source does not pass", async () => {
    using folder = temporaryFolder()
    const { source, output } = await converted(folder)
    rmSync(source)
    writeSafetensors(source, gptOssTensors({ layers: 1 }))
    const { stderr, exitCode } = await run(["verify", output, "--source", source])
    expect(stderr).toMatch(/^dequantizer: [^\n]+\n$/)
    expect(exitCode).toBe(1)
  })

  test("a source that is missing is an I/O error", async () => {
    using folder = temporaryFolder()
    const { output } = await converted(folder)
    const { stderr, exitCode } = await run(["verify", output, "--source", folder.file("gone")])
    expect(stderr).toMatch(/^dequantizer: [^\n]*gone: [^\n]+\n$/)
    expect(exitCode).toBe(5)
  })
})
