/**
 * Weights of random shapes in each kind of code, as integers under scales, and what int8 arithmetic has to make of them:
 * the same bits at every CPU level. Bytes and numbers come from the definitions of the formats, without any code of the
 * program.
 */
import { writeFileSync } from "node:fs"
import { randomBytes, randomWords, type TemporaryFolder } from "../support/checkpoints.ts"
import { ggufBytes, stringEntry } from "../support/gguf-file.ts"
import { dense, E2M1, mxfp4, roundBlockwise, type Weights, writeModel } from "./model.ts"

/** Columns under one scale, of weights and of activations. */
export const SPAN = 32

/** What int8 arithmetic knows of a weight: value = integer · scale · unit. */
export interface Integers {
  /** Of each expert, row-major. */
  readonly integers: readonly Int8Array[]
  /** Of each expert, [rows][⌈columns / 32⌉]. */
  readonly scales: readonly Float32Array[]
  readonly unit: number
}

export interface Model extends Weights {
  readonly path: string
  /** Name of the weight in the file. */
  readonly name: string
  readonly experts: number
  /** Absent: float arithmetic only. */
  readonly coded?: Integers
  /** Round at load. */
  readonly quantize?: "mxfp4"
}

interface Size {
  readonly experts: number
  readonly rows: number
  readonly columns: number
}

export type Kind = (folder: TemporaryFolder, size: Size, seed: number) => Model

const NAME = "block.0.mlp.mlp1_weight"

/** MXFP4 as gpt-oss stores it: columns in whole blocks. */
function storedMxfp4(folder: TemporaryFolder, size: Size, seed: number): Model {
  const columns = roundUp(size.columns)
  const weights = mxfp4(size.experts, size.rows, columns, seed)
  const coded = halves(weights.values, columns, (expert, block) => {
    const at = (expert * size.rows * columns) / SPAN + block
    return 2 ** (weights.tensors[1]!.bytes[at]! - 127)
  })
  const path = writeModel(folder, weights.tensors, `${seed}.safetensors`)
  return { ...weights, experts: size.experts, path, name: NAME, coded }
}

/** BF16 that becomes MXFP4 at load: any number of columns. */
function roundedMxfp4(folder: TemporaryFolder, { rows, columns }: Size, seed: number): Model {
  const weights = dense(NAME, "BF16", rows, columns, seed)
  const [stored] = weights.values
  // Blocks begin anew in every row.
  const padded = new Float64Array(rows * roundUp(columns))
  for (const [i, value] of stored!.entries()) padded[Math.floor(i / columns) * roundUp(columns) + (i % columns)] = value
  const round = roundBlockwise(padded)
  const values = stored!.map((value, i) => round(value, Math.floor(i / columns) * roundUp(columns) + (i % columns)))
  const coded = halves([values], columns, (_, block) => {
    const largest = Math.max(...padded.subarray(block * SPAN, (block + 1) * SPAN).map(Math.abs))
    return 2 ** (Math.floor(Math.log2(largest)) - 2)
  })
  const path = writeModel(folder, weights.tensors, `${seed}.safetensors`)
  return { ...weights, values: [values], experts: 1, path, name: NAME, coded, quantize: "mxfp4" }
}

/** E2M1 values as integers: twice what they are. */
function halves(
  values: readonly Float64Array[],
  columns: number,
  scaleOf: (expert: number, block: number) => number,
): Integers {
  const spans = roundUp(columns) / SPAN
  const scales = values.map((all, expert) =>
    Float32Array.from({ length: (all.length / columns) * spans }, (_, block) => scaleOf(expert, block)),
  )
  const integers = values.map((all, expert) =>
    Int8Array.from(all, (value, i) => {
      const block = Math.floor(i / columns) * spans + Math.floor((i % columns) / SPAN)
      const doubled = (2 * value) / scales[expert]![block]!
      if (!E2M1.includes(doubled / 2)) throw new Error(`${value} is no code under ${scales[expert]![block]}`)
      return doubled
    }),
  )
  return { integers, scales, unit: 0.5 }
}

/** ggml's blocks of 32: an f16 scale, then codes of 4 bits around 8 or of 8 bits. */
function ggml(type: "Q4_0" | "Q8_0"): Kind {
  const [number, size] = type === "Q4_0" ? [2, 18] : [8, 34]
  return (folder, { rows, columns: wanted }, seed) => {
    const columns = roundUp(wanted)
    const count = rows * columns
    const bytes = randomBytes((count / SPAN) * size, seed)
    const view = new DataView(bytes.buffer)
    const next = randomWords(seed + 1)
    // Scales of both signs between 2^-9 and 2^1.
    for (let at = 0; at < bytes.length; at += size)
      view.setUint16(at, (next() & 0x83ff) | ((6 + (next() % 10)) << 10), true)
    const scales = Float32Array.from({ length: count / SPAN }, (_, block) => view.getFloat16(block * size, true))
    const integers = Int8Array.from({ length: count }, (_, i) => {
      const [begin, place] = [Math.floor(i / SPAN) * size + 2, i % SPAN]
      if (type === "Q8_0") return view.getInt8(begin + place)
      const byte = bytes[begin + (place % 16)]!
      return (place < 16 ? byte & 15 : byte >> 4) - 8
    })
    const values = Float64Array.from(integers, (integer, i) => integer * scales[Math.floor(i / SPAN)]!)
    const path = folder.file(`${seed}.gguf`)
    const tensors = [{ name: NAME, type: number, dimensions: [columns, rows], bytes }]
    writeFileSync(path, ggufBytes({ entries: [stringEntry("general.architecture", "t")], tensors }))
    const coded = { integers: [integers], scales: [scales], unit: 1 }
    return { rows, columns, values: [values], experts: 1, path, name: NAME, coded }
  }
}

function plain(dtype: "F32" | "F16" | "BF16"): Kind {
  return (folder, { rows, columns }, seed) => {
    const weights = dense(NAME, dtype, rows, columns, seed)
    return { ...weights, experts: 1, path: writeModel(folder, weights.tensors, `${seed}.safetensors`), name: NAME }
  }
}

export const KINDS: readonly Kind[] = [
  storedMxfp4,
  roundedMxfp4,
  ggml("Q4_0"),
  ggml("Q8_0"),
  plain("F32"),
  plain("F16"),
  plain("BF16"),
]

export const CODED_KINDS: readonly Kind[] = KINDS.slice(0, 4)

function roundUp(columns: number): number {
  return Math.ceil(columns / SPAN) * SPAN
}

/** x in 127 steps of each span's largest magnitude, ties to even, with the roundings of f32. */
export function quantizeActivations(x: Float32Array): { readonly codes: Int8Array; readonly scales: Float32Array } {
  const codes = new Int8Array(x.length)
  const scales = new Float32Array(Math.ceil(x.length / SPAN))
  for (const span of scales.keys()) {
    const values = x.subarray(span * SPAN, (span + 1) * SPAN)
    const scale = Math.fround(Math.max(...values.map(Math.abs)) / 127)
    if (scale < 2 ** -126) continue
    scales[span] = scale
    const inverse = Math.fround(1 / scale)
    // Numbers near 1.5 · 2^23 are integers.
    const magic = 1.5 * 2 ** 23
    for (const [i, value] of values.entries())
      codes[span * SPAN + i] = Math.fround(Math.fround(value * inverse) + magic) - magic
  }
  return { codes, scales }
}

/**
 * int8 arithmetic to the bit: exact integers within a span, which f32 scales multiply, the activations' first; spans are
 * added in their order.
 */
export function int8Product(model: Model, coded: Integers, x: Float32Array, expert: number): Float32Array {
  const { rows, columns } = model
  const integers = coded.integers[expert]!
  const batch = x.length / columns
  const spans = roundUp(columns) / SPAN
  const y = new Float32Array(rows * batch)
  for (let b = 0; b < batch; b++) {
    const { codes, scales } = quantizeActivations(x.subarray(b * columns, (b + 1) * columns))
    for (let row = 0; row < rows; row++) {
      let sum = 0
      for (let span = 0; span < spans; span++) {
        let exact = 0
        const end = Math.min(columns, (span + 1) * SPAN)
        for (let c = span * SPAN; c < end; c++) exact += integers[row * columns + c]! * codes[c]!
        const scaled = Math.fround(Math.fround(exact * scales[span]!) * coded.scales[expert]![row * spans + span]!)
        sum = Math.fround(sum + scaled)
      }
      y[b * rows + row] = sum * coded.unit
    }
  }
  return y
}
