/** Where activations and biases come from: files, tensors of the checkpoint, or a seed. */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import { readExactly, withFile } from "../containers/file.ts"
import { escapeText, quote, tensorLine } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { UnsupportedError, UsageError } from "../errors.ts"
import { BATCH_MAX } from "../native/abi.gen.ts"
import { decodeMatrix } from "../native/decode.ts"
import { denseWeight } from "../schemes/dense.ts"
import { firstOutOfRange, RANGE_TEXT } from "./matrix.ts"
import { readVectorFile } from "./npy.ts"

/**
 * Activations from a .npy or .f32 file: `columns` values, or up to 16 times as many. Throws UsageError for other lengths
 * and values that no product takes, MalformedError for a broken file.
 */
export async function readActivations(path: string, columns: number): Promise<Float32Array> {
  const { shape, values } = await readVectorFile(path)
  const bad = firstOutOfRange(values)
  if (bad >= 0) throw new UsageError(`${escapeText(path)}: value ${bad} is ${values[bad]}: ${RANGE_TEXT}`)
  const batch = values.length / columns
  const fits = Number.isInteger(batch) && batch >= 1 && batch <= BATCH_MAX
  // The last dimension of several is a vector; [columns, 1] would be read the wrong way round.
  if (fits && (shape.length === 1 || shape.at(-1) === columns)) return values
  const wanted = `[${columns}] or [n, ${columns}] with n up to ${BATCH_MAX}`
  throw new UsageError(`${escapeText(path)}: has the shape ${shapeText(shape)}, the weight takes ${wanted}`)
}

/**
 * A dense tensor of `rows` values, or one of a stack of them, as f32. Throws UsageError where there is no such tensor or
 * it has another length, UnsupportedError where it is no tensor of floats.
 */
export async function readBias(
  checkpoint: Checkpoint,
  name: string,
  rows: number,
  expert: number | undefined,
): Promise<Float32Array> {
  const tensor = checkpoint.tensors.get(name)
  if (tensor === undefined) throw new UsageError(`${escapeText(checkpoint.path)}: has no tensor ${quote(name)}`)
  const weight = denseWeight(tensor)
  const { path } = tensor.file
  if (weight === undefined) {
    throw new UnsupportedError(tensorLine(path, name, `is ${tensor.dtype} ${shapeText(tensor.shape)}, no bias`))
  }
  const count = weight.rows * weight.columns
  const index = count === rows ? 0 : (expert ?? 0)
  if (count !== rows && (weight.columns !== rows || index >= weight.rows)) {
    const found = shapeText(tensor.shape)
    throw new UsageError(tensorLine(path, name, "is no bias of this weight", { expected: `[${rows}]`, found }))
  }
  const width = tensor.size / count
  const bytes = await withFile(path, path, (handle) =>
    readExactly(handle, path, tensor.offset + index * rows * width, rows * width),
  )
  const decoded = decodeMatrix({
    codec: weight.codec,
    dtype: "f32",
    rows: 1,
    columns: rows,
    sources: [{ bytes, rowsPerLine: 1, lineBytes: bytes.byteLength, unitColumns: 1, unitBytes: width }],
  })
  return new Float32Array(decoded.bytes.buffer, decoded.bytes.byteOffset, rows)
}

/** Normally distributed values that depend on the seed alone: mulberry32 and the Box-Muller transform. */
export function randomActivations(count: number, seed: number): Float32Array {
  let state = seed >>> 0
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (((mixed ^ (mixed >>> 14)) >>> 0) + 0.5) / 2 ** 32
  }
  const values = new Float32Array(count)
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(uniform()))
    const angle = 2 * Math.PI * uniform()
    values[i] = radius * Math.cos(angle)
    if (i + 1 < count) values[i + 1] = radius * Math.sin(angle)
  }
  return values
}
