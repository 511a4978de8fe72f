/** What the schemes of whole numbers under scales share (kernels/codecs/integers.zig). */
import type { StoredTensor } from "../containers/container.ts"
import { type Dtype, elementCount } from "../containers/dtype.ts"
import { quote, tensorFault } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { requireDtype } from "./mxfp4.ts"
import { type Block, type Placement, placeScales } from "./scale-grid.ts"
import type { WeightSource } from "./scheme.ts"

/** Numbers of kernels/codecs/scale.zig. */
const SCALE_DTYPES = { F32: 1, F16: 2, BF16: 3 } as const satisfies Partial<Record<Dtype, number>>
/** Numbers of kernels/codecs/scaled_row.zig: the dtype of the arithmetic. */
const ROUNDINGS = { F32: 0, F16: 1, BF16: 2 } as const
/** Numbers of kernels/codecs/integers.zig. */
export const ZEROS = { none: 0, words: 1, bytes: 2 } as const

export type FloatDtype = keyof typeof SCALE_DTYPES

/** The dtype of the scales. Throws MalformedError for another one. */
export function floatDtype(scales: StoredTensor): FloatDtype {
  requireDtype(scales, "scales", ["F32", "F16", "BF16"])
  return scales.dtype as FloatDtype
}

export interface IntegerForm {
  readonly bits: number
  readonly dtype: FloatDtype
  /** Columns that share a scale; 0: all. */
  readonly width: number
  readonly zeros?: keyof typeof ZEROS
  readonly arithmetic: FloatDtype
  /** Parameter 5 of the codec. */
  readonly variant?: number
  /** Groups, where each column says which is its own. */
  readonly groups?: number
}

/** The parameters of the codecs. */
export function integerParameters(form: IntegerForm): number[] {
  const { bits, dtype, width, zeros = "none", arithmetic, variant = 0, groups = 0 } = form
  return [bits, SCALE_DTYPES[dtype], width, ZEROS[zeros], ROUNDINGS[arithmetic], variant, groups]
}

/** Where scales are; throws MalformedError where they do not cover `codes`, whose dense shape is `shape`. */
export function placeIntegerScales(
  codes: StoredTensor,
  shape: readonly number[],
  scales: StoredTensor,
  block: Block | undefined,
): Placement {
  if ((elementCount(shape) ?? 0) === 0) {
    throw tensorFault(codes.file.path, codes.name, "quantized weight without values", { found: shapeText(codes.shape) })
  }
  const placement = placeScales(shape, scales.shape, block)
  if (typeof placement !== "string") return placement
  throw tensorFault(scales.file.path, scales.name, `scales have the wrong shape for ${quote(codes.name)}`, {
    expected: placement,
    found: shapeText(scales.shape),
  })
}

/** Scales, or what is placed as they are. */
export function placedSource(role: string, tensor: StoredTensor, placement: Placement): WeightSource {
  const bytes = tensor.size / elementCount(tensor.shape)!
  return {
    role,
    tensor,
    rowsPerLine: placement.rowsPerLine,
    lineBytes: placement.lineScales * bytes,
    batchBytes: placement.batchScales * bytes,
    unitColumns: placement.width,
    unitBytes: placement.width === 0 ? 0 : bytes,
  }
}
