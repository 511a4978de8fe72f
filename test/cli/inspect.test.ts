import { describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { writeGptOss } from "../fixtures/gpt-oss.ts"
import { temporaryFolder, tensor, writeSafetensors } from "../support/checkpoints.ts"
import { writeGptOssFolder } from "../support/models.ts"
import { run } from "./program.ts"

describe("inspect", () => {
  test("the summary of a folder", async () => {
    using folder = temporaryFolder()
    writeGptOssFolder(folder.file("tiny"), {}, 3)
    const { stdout, stderr, exitCode } = await run(["inspect", "tiny"], { cwd: folder.path })
    expect(stdout).toMatchSnapshot()
    expect(stderr).toBe("")
    expect(exitCode).toBe(0)
    expect((await run(["tiny"], { cwd: folder.path })).stdout).toBe(stdout)
    expect((await run(["--", "tiny"], { cwd: folder.path })).stdout).toBe(stdout)
    const index = await run(["tiny/model.safetensors.index.json"], { cwd: folder.path })
    expect(index.stdout).toBe(stdout.replace("tiny\n", "tiny/model.safetensors.index.json\n"))
  })

  test("the numbers of gpt-oss-20b are those of its card, and a large header is read at once", async () => {
    using folder = temporaryFolder()
    writeGptOss({ folder: folder.path, naming: "hf", embeddings: true, headersOnly: true })
    const started = performance.now()
    const { stdout, exitCode } = await run([folder.path, "--json"])
    const seconds = (performance.now() - started) / 1000
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({
      schema: 1,
      kind: "folder",
      architecture: "GptOssForCausalLM",
      declared: { method: "mxfp4" },
      tensors: 459,
      tensor_bytes: 13_761_264_768,
      parameters: 20_914_757_184,
      quantized: [{ scheme: "mxfp4-gpt-oss", weights: 48, bits_per_weight: 4.25, bytes_dense: 38_220_595_200 }],
      plain: [{ dtype: "BF16", tensors: 363 }],
      findings: [],
      problem: null,
    })
    expect(report.tensor_list).toBeUndefined()
    expect(exitCode).toBe(0)
    // The aim is 80 ms on a quiet machine; this bound only notices that tensors are read.
    expect(seconds).toBeLessThan(2)
  })

  test("--to changes the size of the output", async () => {
    using folder = temporaryFolder()
    writeGptOssFolder(folder.path)
    const bf16 = JSON.parse((await run([folder.path, "--json"])).stdout)
    const f32 = JSON.parse((await run([folder.path, "--json", "--to", "f32"])).stdout)
    expect([bf16.to, f32.to]).toEqual(["bf16", "f32"])
    expect(f32.quantized[0].bytes_dense).toBe(2 * bf16.quantized[0].bytes_dense)
    expect(f32.bytes_out).toBeGreaterThan(bf16.bytes_out)
  })

  test("--tensors lists what is stored, in the order of the files", async () => {
    using folder = temporaryFolder()
    writeSafetensors(folder.file("a.safetensors"), [
      tensor("model.layers.10.weight", "F32", [2, 3], 1),
      tensor("model.layers.2.weight", "BF16", [4], 2),
      tensor("bias", "I64", [], 3),
    ])
    const list = async (...args: string[]): Promise<string[]> => {
      const { stdout, exitCode } = await run(["inspect", folder.file("a.safetensors"), ...args])
      expect(exitCode).toBe(0)
      const lines = stdout.trimEnd().split("\n")
      return lines.slice(lines.findIndex((line) => line.startsWith("TENSOR")))
    }
    expect(await list("--tensors")).toEqual([
      "TENSOR                  DTYPE  SHAPE   SIZE",
      "model.layers.10.weight  F32    [2, 3]  24 B",
      "model.layers.2.weight   BF16   [4]      8 B",
      "bias                    I64    []       8 B",
    ])
    const firsts = (lines: string[]): string[] => lines.slice(1).map((line) => line.split(" ")[0] ?? "")
    expect(firsts(await list("--tensors", "--sort", "name"))).toEqual([
      "bias",
      "model.layers.2.weight",
      "model.layers.10.weight",
    ])
    expect(firsts(await list("--sort=size", "--include", "model.*"))).toEqual([
      "model.layers.10.weight",
      "model.layers.2.weight",
    ])
    expect(firsts(await list("--exclude", "*.weight"))).toEqual(["bias"])
  })

  test("control characters of names are shown as escapes", async () => {
    using folder = temporaryFolder()
    writeSafetensors(folder.file("a.safetensors"), [tensor("evil\u001b[2J\nname\u202e", "F32", [1], 1)])
    const { stdout } = await run([folder.file("a.safetensors"), "--tensors"])
    expect(stdout).toContain("evil\\x1b[2J\\nname\\u202e  F32")
    expect(stdout).not.toContain("\u001b")
    const json = JSON.parse((await run([folder.file("a.safetensors"), "--tensors", "--json"])).stdout)
    expect(json.tensor_list).toEqual([
      {
        name: "evil\u001b[2J\nname\u202e",
        dtype: "F32",
        shape: [1],
        bytes: 4,
        file: "a.safetensors",
        offset: expect.any(Number),
      },
    ])
  })

  test("--strict makes findings a failure", async () => {
    using folder = temporaryFolder()
    writeSafetensors(folder.file("model.safetensors"), [tensor("a.weight", "BF16", [2, 2], 1)])
    writeFileSync(folder.file("config.json"), '{"quantization_config": {"quant_method": "mxfp4"}}')
    const plain = await run([folder.path])
    expect(plain.stdout).toContain("finding: ")
    expect(plain.exitCode).toBe(0)
    const strict = await run([folder.path, "--strict"])
    expect(strict.stdout).toBe(plain.stdout)
    expect(strict.stderr).toBe(`dequantizer: ${folder.path}: 1 finding\n`)
    expect(strict.exitCode).toBe(1)
  })

  test("what cannot be converted is shown as far as it is known", async () => {
    using folder = temporaryFolder()
    writeSafetensors(folder.file("a.safetensors"), [tensor("x.mlp1_weight.scales", "U8", [1, 2, 3], 1)])
    const { stdout, stderr, exitCode } = await run([folder.file("a.safetensors")])
    expect(stdout).toContain("U8")
    expect(stderr.trimEnd().split("\n")).toHaveLength(1)
    expect(exitCode).toBe(3)
    const json = await run([folder.file("a.safetensors"), "--json"])
    expect(JSON.parse(json.stdout)).toMatchObject({ bytes_out: null, problem: expect.stringContaining("scales") })
    expect(json.exitCode).toBe(3)
  })
})

describe("formats", () => {
  test("as facts, as Markdown and as JSON", async () => {
    const { stdout, exitCode } = await run(["formats"])
    expect(stdout).toContain("MXFP4 (gpt-oss), 4.25 bits per weight\n")
    expect(exitCode).toBe(0)
    const { formats } = JSON.parse((await run(["formats", "--json"])).stdout)
    const markdown = (await run(["formats", "--markdown"])).stdout.trimEnd().split("\n")
    expect(markdown).toHaveLength(formats.length + 2)
    for (const format of formats) expect(stdout).toContain(format.title)
  })
})
