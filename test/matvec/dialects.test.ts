/**
 * Every dialect of MXFP4 as the libraries write it: products of each weight of a fixture against the dense values that
 * the library itself gave.
 */
import { describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { type Checkpoint, loadMatrix, openCheckpoint, planConversion, runPlan, takeInventory } from "../../src/index.ts"
import { randomBytes, temporaryFolder } from "../support/checkpoints.ts"
import { ggufBytes, stringEntry } from "../support/gguf-file.ts"
import { type ReadTensor, readSafetensors } from "../support/reference.ts"
import { E2M1, normal, plainProduct, relativeError, type Weights } from "./model.ts"

const fixtures = join(import.meta.dir, "..", "fixtures", "formats")
const dialects = {
  "mixed-compressed-tensors": "mxfp4-compressed-tensors",
  "mxfp4-quark": "mxfp4-quark",
  "deepseek-v4": "mxfp4-deepseek-v4",
} as const

/** BF16 or F32 values as [experts][rows · columns]. */
function denseValues({ dtype, shape, bytes }: ReadTensor): Weights {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const word = new DataView(new ArrayBuffer(4))
  const [rows, columns] = [shape.at(-2)!, shape.at(-1)!]
  const size = rows * columns
  const width = dtype === "F32" ? 4 : 2
  const valueAt = (i: number) => {
    if (dtype === "F32") return view.getFloat32(4 * i, true)
    if (dtype === "F16") return view.getFloat16(2 * i, true)
    word.setUint16(2, view.getUint16(2 * i, true), true)
    return word.getFloat32(0, true)
  }
  const values = Array.from({ length: bytes.byteLength / width / size }, (_, expert) =>
    Float64Array.from({ length: size }, (_, i) => valueAt(expert * size + i)),
  )
  return { rows, columns, values }
}

async function expectProducts(checkpoint: Checkpoint, name: string, weights: Weights, size = 1): Promise<void> {
  using matrix = await loadMatrix(checkpoint, name)
  expect(matrix.facts).toMatchObject({ rows: weights.rows, columns: weights.columns, experts: weights.values.length })
  const x = normal(3 * weights.columns, 1).map((value) => value * size)
  for (const expert of weights.values.keys()) {
    const exact = plainProduct(weights, x, expert)
    const float = matrix.multiply(x, undefined, { expert, arithmetic: "float" })
    expect(relativeError(float, exact)).toBeLessThan(1e-6 * Math.sqrt(weights.columns))
    const int8 = matrix.multiply(x, undefined, { expert, arithmetic: "int8" })
    expect(relativeError(int8, exact)).toBeLessThan(0.01)
    expect(relativeError(await matrix.reference(x, { expert }), exact)).toBeLessThan(1e-12)
  }
}

describe.each(Object.entries(dialects))("%s", (folder, scheme) => {
  test("products are those of the library's values", async () => {
    const checkpoint = await openCheckpoint(join(fixtures, folder, "checkpoint"))
    const expected = readSafetensors(join(fixtures, folder, "expected.safetensors"))
    const found = takeInventory(checkpoint).weights.filter((weight) => weight.scheme === scheme)
    expect(found.length).toBeGreaterThan(0)
    for (const { name } of found) await expectProducts(checkpoint, name, denseValues(expected.get(name)!))
  })
})

describe("MXFP4 of GGUF", () => {
  test("products are those of the converted values, which ggml has confirmed", async () => {
    using folder = temporaryFolder()
    const checkpoint = await openCheckpoint(join(fixtures, "gguf-gpt-oss", "model.gguf"))
    const plan = planConversion(checkpoint, { to: "F32", layout: "raw", kind: "file" })
    await runPlan(plan, { output: folder.file("dense.safetensors") })
    const dense = readSafetensors(folder.file("dense.safetensors"))
    const names = [...checkpoint.tensors.values()].filter(({ dtype }) => dtype === "MXFP4").map(({ name }) => name)
    expect(names.length).toBeGreaterThan(0)
    for (const name of names) await expectProducts(checkpoint, name, denseValues(dense.get(name)!))
  })

  test("random blocks, and the largest scale, with which small codes stay finite", async () => {
    using folder = temporaryFolder()
    const [rows, columns] = [37, 160]
    const bytes = randomBytes((rows * columns * 17) / 32, 3)
    for (let at = 0; at < bytes.length; at += 17) bytes[at] = 112 + (bytes[at]! & 15)
    // 2^128 · 0.5 · x of 2^-60: as finite as the rest.
    bytes[0] = 255
    for (let i = 1; i < 17; i++) bytes[i] = bytes[i]! & 0x99
    const tensors = [{ name: "w", type: 39, dimensions: [columns, rows], bytes }]
    writeFileSync(
      folder.file("model.gguf"),
      ggufBytes({ entries: [stringEntry("general.architecture", "t")], tensors }),
    )
    const values = Float64Array.from({ length: rows * columns }, (_, i) => {
      const begin = Math.floor(i / 32) * 17
      const byte = bytes[begin + 1 + (i % 16)]!
      const code = i % 32 < 16 ? byte & 15 : byte >> 4
      return E2M1[code]! * 2 ** (bytes[begin]! - 127)
    })
    const checkpoint = await openCheckpoint(folder.file("model.gguf"))
    await expectProducts(checkpoint, "w", { rows, columns, values: [values] }, 2 ** -60)
  })
})
