/**
 * Small checkpoints for products, and the plain sums that products must come close to. Weights are decoded here by the
 * formulas of the formats, without any code of the program.
 */
import { writeFileSync } from "node:fs"
import { safetensorsHead } from "../fixtures/safetensors-file.ts"
import { bf16Bytes, moderateScales, randomBytes, randomWords, type TemporaryFolder } from "../support/checkpoints.ts"

/** The values of the codes of FP4. */
export const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6]

export interface Stored {
  readonly name: string
  readonly dtype: string
  readonly shape: readonly number[]
  readonly bytes: Uint8Array
}

export interface Weights {
  readonly rows: number
  readonly columns: number
  /** Dense values of each expert, row-major. */
  readonly values: readonly Float64Array[]
}

/** An MXFP4 weight in the naming of gpt-oss's original files: `block.0.mlp.mlp1_weight`. */
export function mxfp4(experts: number, rows: number, columns: number, seed: number): { tensors: Stored[] } & Weights {
  const codes = randomBytes((experts * rows * columns) / 2, seed)
  const scales = moderateScales((experts * rows * columns) / 32, seed + 1)
  const values = Array.from({ length: experts }, (_, expert) =>
    Float64Array.from({ length: rows * columns }, (_, i) => {
      const at = expert * rows * columns + i
      const byte = codes[at >> 1]!
      return E2M1[at % 2 === 0 ? byte & 15 : byte >> 4]! * 2 ** (scales[Math.floor(at / 32)]! - 127)
    }),
  )
  const groups = columns / 32
  const name = "block.0.mlp.mlp1_weight"
  return {
    tensors: [
      { name: `${name}.blocks`, dtype: "U8", shape: [experts, rows, groups, 16], bytes: codes },
      { name: `${name}.scales`, dtype: "U8", shape: [experts, rows, groups], bytes: scales },
    ],
    rows,
    columns,
    values,
  }
}

/** A dense weight of ordinary values. */
export function dense(
  name: string,
  dtype: "F32" | "F16" | "BF16",
  rows: number,
  columns: number,
  seed: number,
): { tensors: Stored[] } & Weights {
  const count = rows * columns
  const bytes = dtype === "BF16" ? bf16Bytes(count, seed) : floatBytes(dtype, normal(count, seed))
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const values = Float64Array.from({ length: count }, (_, i) => {
    if (dtype === "F32") return view.getFloat32(4 * i, true)
    if (dtype === "F16") return view.getFloat16(2 * i, true)
    const word = new DataView(new ArrayBuffer(4))
    word.setUint16(2, view.getUint16(2 * i, true), true)
    return word.getFloat32(0, true)
  })
  return { tensors: [{ name, dtype, shape: [rows, columns], bytes }], rows, columns, values: [values] }
}

function floatBytes(dtype: "F32" | "F16", values: Float32Array): Uint8Array {
  if (dtype === "F32") return new Uint8Array(values.buffer)
  const view = new DataView(new ArrayBuffer(values.length * 2))
  for (const [i, value] of values.entries()) view.setFloat16(2 * i, value, true)
  return new Uint8Array(view.buffer)
}

/** Normally distributed numbers that depend on the seed alone. */
export function normal(count: number, seed: number): Float32Array {
  const next = randomWords(seed)
  const uniform = () => (next() + 0.5) / 2 ** 32
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  )
}

export function writeModel(folder: TemporaryFolder, tensors: readonly Stored[], name = "model.safetensors"): string {
  const entries = tensors.map((tensor) => ({ ...tensor, size: tensor.bytes.byteLength }))
  const path = folder.file(name)
  writeFileSync(path, Buffer.concat([safetensorsHead(entries), ...tensors.map((tensor) => tensor.bytes)]))
  return path
}

/** value → the nearest E2M1 multiple of 2^(⌊log2 max⌋ - 2) of its block of 32 values, ties to even. */
export function roundBlockwise(values: Float64Array): (value: number, index: number) => number {
  const grid = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
  return (value, index) => {
    const block = values.subarray(index - (index % 32), index - (index % 32) + 32)
    const scale = 2 ** (Math.floor(Math.log2(Math.max(...block.map(Math.abs)))) - 2)
    const magnitude = Math.abs(value) / scale
    let best = 0
    for (const [code, point] of grid.entries()) {
      const closer = Math.abs(point - magnitude) - Math.abs(grid[best]! - magnitude)
      if (closer < 0 || (closer === 0 && code % 2 === 0)) best = code
    }
    return Math.sign(value) * grid[best]! * scale
  }
}

/** W · x in f64, column after column of the batch. */
export function plainProduct(weights: Weights, x: Float32Array, expert = 0): Float64Array {
  const { rows, columns } = weights
  const values = weights.values[expert]!
  return Float64Array.from({ length: (x.length / columns) * rows }, (_, i) => {
    const column = Math.floor(i / rows)
    let sum = 0
    for (let c = 0; c < columns; c++) sum += values[(i % rows) * columns + c]! * x[column * columns + c]!
    return sum
  })
}

/** ‖found - expected‖ / ‖expected‖. */
export function relativeError(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0
  let size = 0
  for (let i = 0; i < expected.length; i++) {
    difference += (found[i]! - expected[i]!) ** 2
    size += expected[i]! ** 2
  }
  return Math.sqrt(difference / size)
}
