/** Conversions of the compiled program against the reference recipe, on every element. */
import { afterAll, describe, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { writeGptOss } from "../fixtures/gpt-oss.ts"
import { writeSafetensors } from "../fixtures/safetensors-file.ts"
import { readVector } from "../vectors/vectors.ts"
import { convert } from "./program.ts"
import { findPython, runPython } from "./python.ts"

const folder = mkdtempSync(join(tmpdir(), "dequantizer-compare-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const python = findPython("numpy")
const reason = "reason" in python ? ` (skipped: ${python.reason})` : ""

/** Odd counts, and hidden equal to intermediate in the second: there a missing transposition has the right shape. */
const SIZES = {
  odd: { layers: 2, experts: 3, hidden: 96, intermediate: 160, heads: 5, kvHeads: 1, headDim: 7, vocabulary: 33 },
  square: { layers: 1, experts: 2, hidden: 64, intermediate: 64, heads: 2, kvHeads: 1, headDim: 8, vocabulary: 9 },
}

/** What compressed-tensors 0.20 writes for its MXFP4 preset, cut to what matters here. */
const PACKED_CONFIG = {
  quantization_config: {
    quant_method: "compressed-tensors",
    format: "mxfp4-pack-quantized",
    config_groups: {
      group_0: {
        targets: ["Linear"],
        weights: { num_bits: 4, type: "float", strategy: "group", group_size: 32, scale_dtype: "torch.uint8" },
      },
    },
    ignore: ["lm_head"],
  },
}

/** Runs compare.py; its output where all is equal, undefined where it found a difference. */
function compare(source: string, output: string, ...options: string[]): string | undefined {
  if (!("path" in python)) throw new Error(python.reason)
  const run = runPython(python.path, "reference/compare.py", source, output, ...options)
  if (run.code === 0) return run.output
  // A fault of the script itself must not pass for a difference that it found.
  expect(run.errors).toContain("differ")
  return undefined
}

/** Converts and compares; the number of elements that were compared. */
function equalElements(source: string, name: string, to: string): number {
  const output = join(folder, `${name}-${to}`)
  convert(source, output, "--to", to, "--verify", "none")
  const text = compare(source, output, "--to", to.toUpperCase())
  expect(text).toBeDefined()
  return Number(text!.match(/weights, (\d+) elements equal/)![1])
}

describe.skipIf(reason !== "")(`the reference recipe${reason}`, () => {
  for (const naming of ["original", "hf"] as const) {
    for (const [name, size] of Object.entries(SIZES)) {
      const source = join(folder, `${naming}-${name}`)
      const elements = size.layers * size.experts * 3 * size.hidden * size.intermediate
      test.each(["bf16", "f16", "f32"])(`equals ${naming} ${name} in %s`, (to) => {
        writeGptOss({ folder: source, naming, size, embeddings: true })
        expect(equalElements(source, `${naming}-${name}-out`, to)).toBe(elements)
      })
    }
  }

  test("equals the sample checkpoint in its shards", () => {
    const sample = join(import.meta.dir, "..", "fixtures", "tiny-gpt-oss")
    expect(equalElements(sample, "sample", "bf16")).toBe(2 * 4 * 3 * 64 * 96)
  })

  test.each(["original", "hf"] as const)("equals trained weights in %s names", async (naming) => {
    const { sources, blocksShape } = await readVector("mxfp4-trained")
    const [codes, scales] = sources.map((source) => source.bytes)
    const name = naming === "hf" ? "model.layers.0.mlp.experts.gate_up_proj_" : "block.0.mlp.mlp1_weight."
    const parts = [
      { name: `${name}blocks`, dtype: "U8", shape: blocksShape!, size: codes!.length, bytes: codes! },
      { name: `${name}scales`, dtype: "U8", shape: blocksShape!.slice(0, 3), size: scales!.length, bytes: scales! },
    ]
    const source = join(folder, `trained-${naming}`)
    mkdirSync(source)
    writeSafetensors(join(source, "model.safetensors"), parts, (part) => [part.bytes])
    expect(equalElements(source, `trained-${naming}-out`, "bf16")).toBe(2 * 8 * 192)
  })

  test.each(["bf16", "f16", "f32"])("equals compressed-tensors' mxfp4-pack-quantized in %s", async (to) => {
    const { rows, columns, sources } = await readVector("mxfp4-7x736")
    const [codes, scales] = sources.map((source) => source.bytes)
    const parts = [
      { name: "lin.weight_packed", dtype: "U8", shape: [rows, columns / 2], size: codes!.length, bytes: codes! },
      { name: "lin.weight_scale", dtype: "U8", shape: [rows, columns / 32], size: scales!.length, bytes: scales! },
    ]
    const source = join(folder, "packed")
    mkdirSync(source, { recursive: true })
    writeSafetensors(join(source, "model.safetensors"), parts, (part) => [part.bytes])
    writeFileSync(join(source, "config.json"), JSON.stringify(PACKED_CONFIG))
    expect(equalElements(source, "packed-out", to)).toBe(rows * columns)
  })

  test("notices one flipped bit, and a square matrix that was not transposed", () => {
    const source = join(folder, "flip-source")
    writeGptOss({ folder: source, naming: "hf", size: SIZES.square })
    const output = join(folder, "flip-output")
    convert(source, output, "--to", "bf16")
    expect(compare(source, output)).toBeDefined()

    const path = join(output, "model.safetensors")
    const bytes = readFileSync(path)
    const length = Number(bytes.readBigUInt64LE())
    const header = JSON.parse(bytes.subarray(8, 8 + length).toString())
    const [begin] = header["model.layers.0.mlp.experts.down_proj"].data_offsets
    const matrix = bytes.subarray(8 + length + begin, 8 + length + begin + 2 * 64 * 64)

    matrix[1234]! ^= 1
    writeFileSync(path, bytes)
    expect(compare(source, output)).toBeUndefined()
    matrix[1234]! ^= 1

    const words = new Uint16Array(Uint8Array.from(matrix).buffer)
    const turned = Uint16Array.from(words, (_, index) => words[(index % 64) * 64 + Math.floor(index / 64)]!)
    matrix.set(new Uint8Array(turned.buffer))
    writeFileSync(path, bytes)
    expect(compare(source, output)).toBeUndefined()
  })
})
