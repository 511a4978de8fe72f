/**
 * What GPTQ and AWQ share: from codes, scales and zeros of a matrix that is stored [in, out] to a weight, which is
 * [out, in] like every linear layer.
 */
import type { StoredTensor } from "../containers/container.ts"
import { tensorFault } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import type { CodecName } from "../native/abi.gen.ts"
import { isScaleDtype, scaleDtype } from "./fp8.ts"
import { requireDtype, requireShape } from "./mxfp4.ts"
import { GROUP_ROLE, type Weight, type WeightSource } from "./scheme.ts"

/** Numbers of kernels/codecs/affine.zig. */
const ZEROS = { none: 0, stored: 1, "less one": 2 } as const

/** Columns of a tile: whole words of zeros in every packing. */
const COLUMN_ALIGN = 32

/** How numbers of so many bits stand in words of 32 bits: fields and words of the smallest whole group. */
export function packingOf(bits: number): { readonly fields: number; readonly words: number } {
  return 32 % bits === 0 ? { fields: 32 / bits, words: 1 } : { fields: 32, words: bits }
}

/** Words that `count` numbers take. */
export function wordCount(count: number, bits: number): number {
  const { fields, words } = packingOf(bits)
  return Math.ceil(count / fields) * words
}

export interface AffineParts extends Pick<Weight, "name" | "scheme"> {
  readonly codec: Extract<CodecName, "gptq" | "awq">
  readonly codes: StoredTensor
  /** Rows and columns of the stored matrix. */
  readonly input: number
  readonly output: number
  /** [groups, out]. */
  readonly scales: StoredTensor
  /** [groups, words]. */
  readonly zeros: StoredTensor | undefined
  readonly zeroForm: "stored" | "less one"
  /** I32 [in]. */
  readonly order: StoredTensor | undefined
  /** Rows of a group. */
  readonly groupRows: number
  readonly bits: number
  readonly isPlanar: boolean
  readonly orientation: Weight["orientation"]
}

/** The weight. The shapes of the parts have been checked against each other. */
export function affineWeight(parts: AffineParts): Weight {
  const { codec, codes, scales, zeros, order, bits } = parts
  requireDtype(codes, "codes", ["I32"])
  requireDtype(scales, "scales", ["F16", "BF16", "F32"])
  if (!isScaleDtype(scales.dtype)) throw new Error(`${scales.dtype} is not a dtype of scales`)
  if (zeros !== undefined) requireDtype(zeros, "zeros", ["I32"])
  if (order !== undefined) {
    requireDtype(order, GROUP_ROLE, ["I32"])
    requireShape(order, GROUP_ROLE, [parts.input])
  }
  if (codes.size === 0 || scales.size === 0) {
    throw tensorFault(codes.file.path, codes.name, "quantized weight without values", { found: shapeText(codes.shape) })
  }
  const { fields, words } = packingOf(bits)
  const groups = scales.shape[0]!
  const columns = parts.output
  const beside = (role: string, tensor: StoredTensor, unitColumns: number, unitBytes: number): WeightSource =>
    order === undefined
      ? {
          role,
          tensor,
          rowsPerLine: parts.groupRows,
          lineBytes: tensor.size / groups,
          batchBytes: 0,
          unitColumns,
          unitBytes,
        }
      : wholeTensor(role, tensor)
  const scaleBytes = scales.size / (groups * columns)
  return {
    name: parts.name,
    scheme: parts.scheme,
    codec,
    sources: [
      codec === "awq" ? rowCodes(codes, columns) : columnCodes(codes, columns, bits),
      beside("scales", scales, 1, scaleBytes),
      ...(zeros === undefined ? [] : [beside("zeros", zeros, fields, words * 4)]),
      ...(order === undefined ? [] : [wholeTensor(GROUP_ROLE, order)]),
    ],
    batch: 1,
    rows: parts.input,
    columns,
    rowAlign: codec === "awq" ? 1 : fields,
    columnAlign: COLUMN_ALIGN,
    parameters: [
      bits,
      parts.isPlanar ? 1 : 0,
      ZEROS[zeros === undefined ? "none" : parts.zeroForm],
      scaleDtype(scales.dtype),
      parts.groupRows,
      order === undefined ? 0 : groups,
    ],
    shape: [parts.input, columns],
    orientation: parts.orientation,
  }
}

/** Rows share words: a line is one word of each column, or several such lines where numbers cross words. */
function columnCodes(tensor: StoredTensor, columns: number, bits: number): WeightSource {
  const { fields, words } = packingOf(bits)
  const unit = words === 1 ? { unitColumns: 1, unitBytes: 4 } : { unitColumns: 0, unitBytes: 0 }
  return { role: "codes", tensor, rowsPerLine: fields, lineBytes: words * columns * 4, batchBytes: 0, ...unit }
}

/** Columns share words. */
function rowCodes(tensor: StoredTensor, columns: number): WeightSource {
  const lineBytes = columns / 2
  return { role: "codes", tensor, rowsPerLine: 1, lineBytes, batchBytes: 0, unitColumns: 8, unitBytes: 4 }
}

function wholeTensor(role: string, tensor: StoredTensor): WeightSource {
  return { role, tensor, rowsPerLine: 0, lineBytes: tensor.size, batchBytes: 0, unitColumns: 0, unitBytes: 0 }
}

/**
 * Rows of a group where groups follow each other: the declared size where it gives so many groups, else equal parts.
 * Throws MalformedError where neither is possible.
 */
export function groupRowsOf(scales: StoredTensor, input: number, declared: number | undefined): number {
  const groups = scales.shape[0] ?? 0
  const size = declared === -1 ? input : declared
  if (size !== undefined && size > 0 && Math.ceil(input / size) === groups) return size
  if (groups > 0 && input % groups === 0) return input / groups
  const expected = size === undefined ? `a number of groups that divides ${input}` : `${Math.ceil(input / size)} groups`
  throw tensorFault(scales.file.path, scales.name, "scales have the wrong shape", {
    expected,
    found: shapeText(scales.shape),
  })
}
