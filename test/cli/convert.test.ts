/** Conversions through the compiled program, compared with the slow reference decoder element by element. */
import { describe, expect, test } from "bun:test"
import { existsSync, linkSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import {
  type TemporaryFolder,
  type TensorInput,
  temporaryFolder,
  tensor,
  writeCheckpointFolder,
  writeSafetensors,
} from "../support/checkpoints.ts"
import {
  compressedTensorsTensors,
  denseTensors,
  gptOssOriginalTensors,
  gptOssTensors,
  writeGptOssFolder,
} from "../support/models.ts"
import { type Dense, differences, expectedOutput, type ReadTensor, readSafetensors } from "../support/reference.ts"
import { plainEnvironment, run } from "./program.ts"

const DTYPES: readonly Dense[] = ["BF16", "F16", "F32"]

interface Level {
  readonly name: string
  readonly supported: boolean
}

// Asked of the program: a library that this process had loaded could be rebuilt under it.
const levels: readonly Level[] = JSON.parse((await run(["doctor", "--json"])).stdout).machine.levels

/** All tensors of a folder's shards. */
function readFolder(folder: string): Map<string, ReadTensor> {
  const shards = readdirSync(folder).filter((name) => name.endsWith(".safetensors"))
  return new Map(shards.flatMap((name) => [...readSafetensors(join(folder, name))]))
}

function writeFile(folder: TemporaryFolder, tensors: readonly TensorInput[]): string {
  const path = folder.file("in.safetensors")
  writeSafetensors(path, tensors)
  return path
}

/** Converts and expects success without a word on stderr. */
async function convert(...args: string[]): Promise<string> {
  const { stdout, stderr, exitCode } = await run(["convert", ...args])
  expect(stderr).toBe("")
  expect(exitCode).toBe(0)
  return stdout
}

describe("every element is right", () => {
  const models = {
    original: gptOssOriginalTensors(),
    hub: gptOssTensors(),
    "compressed-tensors": compressedTensorsTensors(),
  }
  const rows = Object.entries(models).flatMap(([name, tensors]) => DTYPES.map((to) => [name, to, tensors] as const))

  test.each(rows)("file of %s to %s", async (_name, to, tensors) => {
    using folder = temporaryFolder()
    await convert(writeFile(folder, tensors), "-o", folder.file("out.safetensors"), "--to", to.toLowerCase())
    expect(differences(readSafetensors(folder.file("out.safetensors")), expectedOutput(tensors, { to }))).toEqual([])
    expect(readdirSync(folder.path).sort()).toEqual(["in.safetensors", "out.safetensors"])
  })

  test("folder to folder, with every other file of it", async () => {
    using folder = temporaryFolder()
    writeGptOssFolder(folder.file("in"))
    await convert(folder.file("in"), "-o", folder.file("out"))
    expect(readdirSync(folder.file("out")).sort()).toEqual(readdirSync(folder.file("in")).sort())
    expect(differences(readFolder(folder.file("out")), expectedOutput(gptOssTensors(), { to: "BF16" }))).toEqual([])
    for (const name of ["tokenizer.json", "chat_template.jinja", "generation_config.json"]) {
      expect(readFileSync(folder.file("out", name))).toEqual(readFileSync(folder.file("in", name)))
    }
    const config = JSON.parse(readFileSync(folder.file("out", "config.json"), "utf8"))
    expect(config.quantization_config).toBeUndefined()
    expect(config.torch_dtype).toBe("bfloat16")
  })

  test("--cast-all, --layout raw and --shard-size single", async () => {
    using folder = temporaryFolder()
    writeGptOssFolder(folder.file("in"))
    const out = folder.file("out")
    await convert(folder.file("in"), "-o", out, "--to=f32", "--cast-all", "--layout=raw", "--shard-size", "single")
    const expected = expectedOutput(gptOssTensors(), { to: "F32", castAll: true, raw: true })
    expect(differences(readFolder(out), expected)).toEqual([])
    expect(readdirSync(out).filter((name) => name.endsWith(".safetensors"))).toEqual(["model.safetensors"])
  })

  test("--include and --exclude leave the other weights as stored", async () => {
    using folder = temporaryFolder()
    const tensors = gptOssOriginalTensors()
    const out = folder.file("out.safetensors")
    const { stderr, exitCode } = await run([
      ...["convert", writeFile(folder, tensors), "-o", out],
      ...["--include", "block.*", "--exclude", "block.1.*"],
    ])
    expect(stderr).toMatch(/^note: 2 weights left quantized as stored: /)
    expect(exitCode).toBe(0)
    const names = [...readSafetensors(out).keys()]
    expect(names).toContain("block.0.mlp.mlp1_weight")
    expect(names).toContain("block.1.mlp.mlp1_weight.blocks")
    expect(names).not.toContain("block.1.mlp.mlp1_weight")
  })

  test.each(levels.map((level) => [level.name, level.supported] as const))("level %s", async (name, supported) => {
    using folder = temporaryFolder()
    const tensors = gptOssTensors({ wildScales: true })
    const source = writeFile(folder, tensors)
    const byOption = await run(["convert", source, "-o", folder.file("a"), "--level", name, "--json", "-q"])
    const env = plainEnvironment({ DQ_LEVEL: name })
    const byVariable = await run(["convert", source, "-o", folder.file("b"), "--json", "-q"], { env })
    if (!supported) {
      expect(byOption.stderr).toMatch(/^dequantizer: this CPU cannot run level [^\n]+\n$/)
      expect(byVariable.stderr).toBe(byOption.stderr)
      expect([byOption.exitCode, byVariable.exitCode]).toEqual([4, 4])
      expect(readdirSync(folder.path)).toEqual(["in.safetensors"])
      return
    }
    expect(JSON.parse(byOption.stdout).level).toBe(name)
    expect(JSON.parse(byVariable.stdout).level).toBe(name)
    const expected = expectedOutput(tensors, { to: "BF16" })
    for (const out of ["a", "b"]) expect(differences(readSafetensors(folder.file(out)), expected)).toEqual([])
  })

  test.each(["mmap", "pread", "direct"])("--io %s, one thread, little memory", async (io) => {
    using folder = temporaryFolder()
    const tensors = gptOssTensors()
    const out = folder.file("out")
    await convert(writeFile(folder, tensors), "-o", out, "--io", io, "-j1", "--max-memory", "32MiB", "--verify=full")
    expect(differences(readSafetensors(out), expectedOutput(tensors, { to: "BF16" }))).toEqual([])
  })
})

describe("what it says", () => {
  test("a summary of the result", async () => {
    using folder = temporaryFolder()
    writeGptOssFolder(folder.file("in"))
    const { stdout } = await run(["convert", "in", "-o", "out"], { cwd: folder.path })
    const steady = stdout
      .replace(/^(time +).*$/m, "$1…")
      .replace(/^(engine +).*$/m, "$1…")
      .replace(/\(\d.*s\)$/m, "(…)")
    expect(steady).toMatchSnapshot()
    const out = readdirSync(folder.file("out")).reduce((sum, name) => sum + statSync(folder.file("out", name)).size, 0)
    expect(stdout).toContain(`(${out.toLocaleString("en-US")} bytes)`)
  })

  test("the same as one JSON object, and nothing with -q", async () => {
    using folder = temporaryFolder()
    writeGptOssFolder(folder.file("in"))
    const report = JSON.parse(await convert(folder.file("in"), "-o", folder.file("out"), "--json"))
    expect(report).toMatchObject({
      schema: 1,
      weights: 4,
      non_finite: { count: 0, tensor: null },
      verified: { ok: true },
    })
    expect(report.files.at(-1)).toBe("model.safetensors.index.json")
    expect(await convert(folder.file("in"), "-o", folder.file("out"), "-f", "-q")).toBe("")
    expect(
      JSON.parse(await convert(folder.file("in"), "-o", folder.file("o"), "--verify=none", "--json")).verified,
    ).toBe(null)
  })

  test("--dry-run shows the plan and writes nothing", async () => {
    using folder = temporaryFolder()
    writeGptOssFolder(folder.file("in"))
    const options = { cwd: folder.path }
    const { stdout, exitCode } = await run(["convert", "in", "-o", "out", "-n"], options)
    expect(stdout.replace(/^(memory|free) .*$/gm, "$1 …")).toMatchSnapshot()
    expect(exitCode).toBe(0)
    const plan = JSON.parse((await run(["convert", "in", "-n", "--json"], options)).stdout)
    expect(plan).toMatchObject({ schema: 1, tensors: 37, decoded: 4, copied: 33, to: "bf16", free_bytes: null })
    expect(plan.memory_bytes).toBeGreaterThan(0)
    expect(readdirSync(folder.path)).toEqual(["in"])
    await run(["convert", "in", "-o", "out"], options)
    const written = readdirSync(folder.file("out")).map((name) => statSync(folder.file("out", name)).size)
    expect(written.reduce((sum, size) => sum + size, 0)).toBe(plan.bytes_out)
  })

  test("an input without quantized tensors is a copy, with a sentence", async () => {
    using folder = temporaryFolder()
    const tensors = denseTensors()
    const out = folder.file("out.safetensors")
    const { stderr, exitCode } = await run(["convert", writeFile(folder, tensors), "-o", out])
    expect(stderr).toBe("note: no tensor is quantized: the output is a copy\n")
    expect(exitCode).toBe(0)
    expect(differences(readSafetensors(out), expectedOutput(tensors, { to: "BF16" }))).toEqual([])
  })

  test("results that are not finite are counted, or refused, or allowed", async () => {
    using folder = temporaryFolder()
    const codes = new Uint8Array(32).fill(0x77)
    const source = writeFile(folder, [
      { name: "w.blocks", dtype: "U8", shape: [1, 1, 2, 16], bytes: codes },
      { name: "w.scales", dtype: "U8", shape: [1, 1, 2], bytes: Uint8Array.of(120, 200) },
    ])
    const to = async (...args: string[]) =>
      await run(["convert", source, "-o", folder.file("out"), "-f", "--to", "f16", ...args])
    const warned = await to()
    expect(warned.stderr).toBe('warning: 32 results NaN or infinite, the first in tensor "w"\n')
    expect(warned.exitCode).toBe(0)
    const allowed = await to("--non-finite", "allow")
    expect([allowed.stderr, allowed.exitCode]).toEqual(["", 0])
    const before = readFileSync(folder.file("out"))
    const refused = await to("--non-finite=error")
    expect(refused.stdout).toBe("")
    expect(refused.stderr).toMatch(/^dequantizer: [^\n]*32 results are NaN or infinite[^\n]*\n$/)
    expect(refused.exitCode).toBe(1)
    expect(readFileSync(folder.file("out"))).toEqual(before)
  })

  test("--progress json gives events, the last of them complete", async () => {
    using folder = temporaryFolder()
    const source = writeFile(folder, gptOssTensors())
    const { stderr, exitCode } = await run(["convert", source, "-o", folder.file("out"), "--progress", "json"])
    expect(exitCode).toBe(0)
    const events = stderr
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line))
    for (const event of events) expect(event).toMatchObject({ schema: 1, event: "progress" })
    const last = events.findLast((event) => event.phase === "convert")
    expect(last.bytes_done).toBe(last.bytes_total)
  })
})

describe("refusals are exit 6 and leave everything as it was", () => {
  async function refused(args: readonly string[], says: RegExp, folder: TemporaryFolder): Promise<void> {
    const before = readdirSync(folder.path, { recursive: true })
    const { stdout, stderr, exitCode } = await run(["convert", ...args], { cwd: folder.path })
    expect(stdout).toBe("")
    expect(stderr).toMatch(/^dequantizer: [^\n]+\n$/)
    expect(stderr).toMatch(says)
    expect(exitCode).toBe(6)
    expect(readdirSync(folder.path, { recursive: true })).toEqual(before)
  }

  test("an output that exists, unless --force", async () => {
    using folder = temporaryFolder()
    writeFile(folder, [tensor("a", "F32", [4], 1)])
    writeFileSync(folder.file("out"), "mine")
    await refused(["in.safetensors", "-o", "out"], /exists.*--force/, folder)
    expect(readFileSync(folder.file("out"), "utf8")).toBe("mine")
    expect((await run(["convert", "in.safetensors", "-o", "out", "-f"], { cwd: folder.path })).exitCode).toBe(0)
    expect(readSafetensors(folder.file("out")).size).toBe(1)
  })

  test("the input itself: by path, hard link and symbolic link", async () => {
    using folder = temporaryFolder()
    writeFile(folder, [tensor("a", "F32", [4], 1)])
    linkSync(folder.file("in.safetensors"), folder.file("hard"))
    symlinkSync("in.safetensors", folder.file("soft"))
    for (const output of ["in.safetensors", "./in.safetensors", "hard", "soft"]) {
      await refused(["in.safetensors", "-o", output, "-f"], /in\.safetensors|symbolic link/, folder)
    }
  })

  test("a folder inside the input, and a file for a folder", async () => {
    using folder = temporaryFolder()
    writeCheckpointFolder(folder.file("in"), { shards: { "model.safetensors": [tensor("a", "F32", [4], 1)] } })
    await refused(["in", "-o", "in", "-f"], /input/, folder)
    await refused(["in", "-o", "in/out"], /inside/, folder)
    writeFileSync(folder.file("file"), "")
    await refused(["in", "-o", "file", "-f"], /folder/, folder)
  })

  test("memory that does not suffice", async () => {
    using folder = temporaryFolder()
    writeFile(folder, gptOssTensors())
    await refused(["in.safetensors", "-o", "out", "--max-memory", "1"], /--max-memory/, folder)
    await refused(["in.safetensors", "-n", "--max-memory", "1"], /--max-memory/, folder)
  })
})

describe("other failures", () => {
  test("no folder to write to is an I/O error", async () => {
    using folder = temporaryFolder()
    const source = writeFile(folder, [tensor("a", "F32", [4], 1)])
    const { stderr, exitCode } = await run(["convert", source, "-o", folder.file("no/such/out")])
    expect(stderr).toMatch(/^dequantizer: [^\n]*no\/such[^\n]*\n$/)
    expect(exitCode).toBe(5)
    expect(existsSync(folder.file("no"))).toBe(false)
  })
})
