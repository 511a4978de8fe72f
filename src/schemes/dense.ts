/**
 * Dense tensors. They are not weights of an inventory: what is not quantized is copied as it is. Where one is to be
 * cast or multiplied, this gives it the form that the engine works on.
 */
import type { StoredTensor } from "../containers/container.ts"
import { type DenseDtype, DTYPE_BITS, elementCount, isDenseDtype } from "../containers/dtype.ts"
import type { CodecName } from "../native/abi.gen.ts"
import type { FormatRow, Weight } from "./scheme.ts"

const CODECS = { BF16: "bf16", F16: "f16", F32: "f32" } as const satisfies Record<DenseDtype, CodecName>

export const DENSE_ROW: FormatRow = {
  title: "Dense BF16, F16, F32",
  declaredAs: "nothing",
  stored: "P.weight BF16, F16 or F32",
  codec: "bf16",
  bitsPerWeight: "16 or 32",
  reference: "safetensors",
}

/**
 * A BF16, F16 or F32 tensor as matrices of so many rows and columns, one behind the other, that are to get another form:
 * rows in another order, a number added to each value. It keeps its dtype.
 */
export function denseMatrices(tensor: StoredTensor, rows: number, columns: number): Weight {
  const { dtype } = tensor
  const weight = denseWeight(tensor)
  if (weight === undefined || !isDenseDtype(dtype)) throw new Error(`${tensor.name}: ${dtype} is not a dense dtype`)
  const lineBytes = (columns * DTYPE_BITS[dtype]) / 8
  const batch = (weight.rows * weight.columns) / (rows * columns)
  const batchBytes = batch === 1 ? 0 : rows * lineBytes
  const sources = weight.sources.map((source) => ({ ...source, lineBytes, batchBytes }))
  return { ...weight, sources, batch, rows, columns, plainDtype: dtype }
}

/** The bits of a number as f32, as codecs take numbers. */
export function floatBits(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]!
}

/**
 * A BF16, F16 or F32 tensor as one matrix: the last dimension is the columns, all others together are the rows; a
 * vector is one row, a scalar one value. undefined for other dtypes and for tensors without values.
 */
export function denseWeight(tensor: StoredTensor): Weight | undefined {
  const { name, dtype, shape } = tensor
  const count = elementCount(shape)
  if (!isDenseDtype(dtype) || count === undefined || count === 0) return undefined
  const columns = shape.at(-1) ?? 1
  const elementBytes = DTYPE_BITS[dtype] / 8
  const source = {
    role: "values",
    tensor,
    rowsPerLine: 1,
    lineBytes: columns * elementBytes,
    batchBytes: 0,
    unitColumns: 1,
    unitBytes: elementBytes,
  }
  return {
    name,
    scheme: "dense",
    codec: CODECS[dtype],
    sources: [source],
    batch: 1,
    rows: count / columns,
    columns,
    rowAlign: 1,
    columnAlign: 1,
    parameters: [],
    shape,
    orientation: "as-stored",
  }
}
