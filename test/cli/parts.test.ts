/** `convert --part` and `finish` as a user meets them: exit codes, lines, JSON. */
import { describe, expect, test } from "bun:test"
import { readdirSync } from "node:fs"
import { temporaryFolder, writeSafetensors } from "../support/checkpoints.ts"
import { gptOssTensors, writeGptOssFolder } from "../support/models.ts"
import { run } from "./program.ts"

const SHARDS = ["--shard-size", "30kB"]

/** A source, an output, and `convert` of a part of it. */
function parts() {
  const folder = temporaryFolder()
  const [source, output] = [folder.file("in"), folder.file("out")]
  writeGptOssFolder(source)
  const convert = (part: string, ...more: string[]) =>
    run(["convert", source, "-o", output, ...SHARDS, "--part", part, ...more])
  return { folder, source, output, convert, [Symbol.dispose]: () => folder[Symbol.dispose]() }
}

describe("convert --part", () => {
  test("says which part of what", async () => {
    using made = parts()
    const { stdout, stderr, exitCode } = await made.convert("2/3")
    expect(stdout).toMatch(/^output +\S+\npart +2\/3: \d+ of \d+ shards\nsize /)
    expect({ stderr, exitCode }).toEqual({ stderr: "", exitCode: 0 })
    const json = await made.convert("3/3", "--json")
    expect(JSON.parse(json.stdout)).toMatchObject({ part: { index: 3, count: 3 }, was_complete: false })
    const again = await made.convert("2/3", "--resume", "--json")
    expect(JSON.parse(again.stdout).shards_kept).toBeGreaterThan(0)
  })

  test("--finish: the last part finishes, and says so", async () => {
    using made = parts()
    const first = await made.convert("2/3", "--finish", "--json")
    expect(JSON.parse(first.stdout).finished).toBeNull()
    await made.convert("3/3", "--finish")
    const { stdout, stderr, exitCode } = await made.convert("1/3", "--finish")
    expect(stdout).toMatch(/\nfinished +all 3 parts: \S+ kB in \d+ files, compared with the parts' checksums\n$/)
    expect({ stderr, exitCode }).toEqual({ stderr: "", exitCode: 0 })
    expect((await run(["verify", made.output, "--source", made.source, "--full"])).exitCode).toBe(0)
    const whole = await run(["convert", made.source, "-o", made.folder.file("other"), "--finish"])
    expect(whole).toMatchObject({ stderr: "dequantizer: --finish needs --part\n", exitCode: 2 })
  })

  test("--dry-run shows that part, and writes nothing", async () => {
    using made = parts()
    const { stdout, exitCode } = await made.convert("1/3", "-n")
    expect(stdout).toMatch(/^part +1\/3: \d+ of \d+ shards\ntensors /)
    expect(exitCode).toBe(0)
    const [one, whole] = await Promise.all([
      made.convert("1/3", "-n", "--json"),
      run(["convert", made.source, ...SHARDS, "-n", "--json"]),
    ])
    expect(JSON.parse(whole.stdout).part).toBeNull()
    expect(JSON.parse(one.stdout).bytes_out).toBeLessThan(JSON.parse(whole.stdout).bytes_out)
    expect(readdirSync(made.folder.path)).toEqual(["in"])
  })

  test.each(["0/3", "4/3", "3", "x/y", ""])("%p is a usage error in one line", async (part) => {
    using made = parts()
    const { stdout, stderr, exitCode } = await made.convert(part)
    expect(stderr).toMatch(/^dequantizer: --part: [^\n]*\n$/)
    expect({ stdout, exitCode }).toEqual({ stdout: "", exitCode: 2 })
  })

  test("of an output that is a file is a usage error in one line", async () => {
    using folder = temporaryFolder()
    writeSafetensors(folder.file("in.safetensors"), gptOssTensors())
    for (const more of [[], ["-n"]]) {
      const args = ["convert", folder.file("in.safetensors"), "-o", folder.file("out.safetensors"), "--part", "1/2"]
      const { stderr, exitCode } = await run([...args, ...more])
      expect(stderr).toMatch(/^dequantizer: --part needs a folder: an output file is one shard; [^\n]*\n$/)
      expect(exitCode).toBe(2)
    }
    expect(readdirSync(folder.path)).toEqual(["in.safetensors"])
  })
})

describe("finish", () => {
  test("gives what one run gives, which verify --full confirms", async () => {
    using made = parts()
    for (const part of ["3/3", "1/3", "2/3"]) expect((await made.convert(part, "--manifest")).exitCode).toBe(0)
    const early = await run(["verify", made.output])
    expect({ ...early, stderr: "" }).toEqual({ stdout: "", stderr: "", exitCode: 3 })
    const { stdout, stderr, exitCode } = await run(["finish", made.output])
    expect(stdout).toMatch(/^output +\S+\nsize +\S.*\nparts +3\nchecked +\S.* against the parts' checksums\ntime +\S/)
    expect({ stderr, exitCode }).toEqual({ stderr: "", exitCode: 0 })
    const verified = await run(["verify", made.output, "--source", made.source, "--full", "--manifest"])
    expect(verified.stdout).toContain("equal, bit for bit")
    const again = await run(["finish", made.output, "--json"])
    expect(JSON.parse(again.stdout)).toMatchObject({ schema: 1, parts: 0, bytes_checked: 0, non_finite: null })
    expect(again.exitCode).toBe(0)
  })

  test("is refused with exit 6 and what is missing or differs", async () => {
    using made = parts()
    await made.convert("1/2")
    const missing = await run(["finish", made.output])
    expect(missing.stderr).toMatch(/^dequantizer: \S+: part 2\/2 is missing; [^\n]*\n$/)
    expect(missing.exitCode).toBe(6)
    const other = await made.convert("2/2", "--to", "f32")
    expect(other.stderr).toMatch(
      /part 2\/2 does not belong to part 1\/2: --to differs \(expected "BF16", found "F32"\)/,
    )
    expect(other.exitCode).toBe(6)
    const nothing = await run(["finish", made.folder.path])
    expect(nothing.stderr).toMatch(/^dequantizer: \S+: holds no parts of an output; [^\n]*\n$/)
    expect(nothing.exitCode).toBe(6)
    expect((await run(["finish", made.folder.file("none")])).exitCode).toBe(5)
  })
})
