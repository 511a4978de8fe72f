/**
 * What the NVFP4 schemes share: E2M1 codes two to a byte, an E4M3 scale for each 16 columns, an F32 scale for each
 * whole matrix that multiplies or divides.
 */
import type { StoredTensor } from "../containers/container.ts"
import { elementCount } from "../containers/dtype.ts"
import { tensorFault } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { requireDtype, requireShape } from "./mxfp4.ts"
import type { Weight, WeightSource } from "./scheme.ts"

/** Columns that share a scale, and the bytes of their codes. */
export const NVFP4_GROUP = 16
export const NVFP4_GROUP_BYTES = 8

/** Numbers of kernels/codecs/nvfp4.zig and kernels/codecs/scale.zig. */
const WHOLE = { multiply: 1, divide: 2 } as const
const COLUMN_DTYPES = { F32: 1, F16: 2, BF16: 3 } as const

/** The number of a dtype of scales of columns; 0 where there are none. */
export function columnDtype(tensor: StoredTensor | undefined): number {
  return tensor === undefined ? 0 : COLUMN_DTYPES[tensor.dtype as keyof typeof COLUMN_DTYPES]
}

export interface Nvfp4Parts extends Pick<Weight, "name" | "scheme"> {
  /** U8 [batch…, out, in/2]. */
  readonly codes: StoredTensor
  /** F8_E4M3 [batch…, out, in/16]. */
  readonly scales: StoredTensor
  /** F32, one for all or one for each item of the batch. */
  readonly whole: StoredTensor
  readonly how: keyof typeof WHOLE
  /** Code 8 is +0, as in modelopt's table; else -0. */
  readonly positiveZero: boolean
  /** A factor for each column. */
  readonly columnScales?: StoredTensor | undefined
}

/** The weight. Throws MalformedError where the parts do not fit. */
export function nvfp4Weight(parts: Nvfp4Parts): Weight {
  const { name, scheme, codes, scales, whole, how, positiveZero, columnScales } = parts
  requireDtype(codes, "NVFP4 codes", ["U8"])
  requireDtype(scales, "NVFP4 scales", ["F8_E4M3"])
  requireDtype(whole, "the NVFP4 scale of the whole", ["F32"])
  const bytes = codes.shape.at(-1)
  const rows = codes.shape.at(-2)
  if (bytes === undefined || rows === undefined || bytes % NVFP4_GROUP_BYTES !== 0) {
    throw tensorFault(codes.file.path, codes.name, "NVFP4 codes have the wrong shape", {
      expected: `[…, out, in/2] with whole groups of ${NVFP4_GROUP_BYTES} bytes`,
      found: shapeText(codes.shape),
    })
  }
  const leading = codes.shape.slice(0, -2)
  const batch = elementCount(leading) ?? 0
  const groups = bytes / NVFP4_GROUP_BYTES
  const columns = groups * NVFP4_GROUP
  if (batch * rows * columns === 0) {
    throw tensorFault(codes.file.path, codes.name, "quantized weight without values", { found: shapeText(codes.shape) })
  }
  requireShape(scales, "NVFP4 scales", [...leading, rows, groups])
  const source = (role: string, tensor: StoredTensor, unitBytes: number): WeightSource => ({
    role,
    tensor,
    rowsPerLine: 1,
    lineBytes: groups * unitBytes,
    batchBytes: batch === 1 ? 0 : rows * groups * unitBytes,
    unitColumns: NVFP4_GROUP,
    unitBytes,
  })
  const sources = [
    source("codes", codes, NVFP4_GROUP_BYTES),
    source("scales", scales, 1),
    wholeSource(whole, batch),
    ...(columnScales === undefined ? [] : [columnSource(columnScales, columns)]),
  ]
  return {
    name,
    scheme,
    codec: "nvfp4",
    sources,
    batch,
    rows,
    columns,
    rowAlign: 1,
    columnAlign: NVFP4_GROUP,
    parameters: [WHOLE[how], positiveZero ? 1 : 0, columnDtype(columnScales)],
    shape: [...leading, rows, columns],
    orientation: "as-stored",
  }
}

/** One scale for all, or one for each item of the batch. Throws MalformedError where there are others. */
export function wholeSource(whole: StoredTensor, batch: number): WeightSource {
  const count = elementCount(whole.shape)
  if (count !== 1 && count !== batch) {
    throw tensorFault(whole.file.path, whole.name, "the NVFP4 scale of the whole has the wrong shape", {
      expected: batch === 1 ? "one value" : `one value, or ${batch}`,
      found: shapeText(whole.shape),
    })
  }
  const batchBytes = count === 1 ? 0 : 4
  const line = { rowsPerLine: 0, lineBytes: 4, batchBytes, unitColumns: 0, unitBytes: 0 }
  return { role: "scale of the whole", tensor: whole, ...line }
}

/** A scale for each column. Throws MalformedError where there are others. */
export function columnSource(tensor: StoredTensor, columns: number): WeightSource {
  requireDtype(tensor, "scales of columns", ["BF16", "F16", "F32"])
  requireShape(tensor, "scales of columns", [columns])
  const unitBytes = tensor.size / columns
  const line = { rowsPerLine: 0, lineBytes: columns * unitBytes, batchBytes: 0, unitColumns: 1, unitBytes }
  return { role: "scales of columns", tensor, ...line }
}
