/**
 * Integers that compressed-tensors packs into words, format `pack-quantized`:
 *
 *     P.weight_packed      I32 [batch…, out, ceil(in·b/32)]: codes of b bits, one behind the other. Up to 0.9 a word
 *                          held floor(32/b) codes, so that of 3, 5, 6 and 7 bits none crossed words
 *     P.weight_scale       BF16, F16 or F32: [1], [out, 1] or [out, in/g]
 *     P.weight_shape       I64 or I32: the shape of the dense weight
 *     P.weight_zero_point  asymmetric: I32 [ceil(out·b/32), groups], packed along the rows; older: I8 as the scales
 *     P.weight_g_idx       I32 [in]: the group of each column ("actorder": "group")
 *
 * Source: compressed_tensors 0.20.0, compressors/pack_quantized; 0.9.4 for the older forms.
 */
import type { StoredTensor } from "../containers/container.ts"
import { elementCount } from "../containers/dtype.ts"
import { tensorFault } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { readTensorBytes } from "../containers/tensor-bytes.ts"
import { declaresFormat, weightSetting } from "./compressed-tensors.ts"
import { missingPart } from "./fp8.ts"
import { floatDtype, integerParameters, placedSource, placeIntegerScales, type ZEROS } from "./integers.ts"
import { requireDtype, requireShape } from "./mxfp4.ts"
import type { Placement } from "./scale-grid.ts"
import type { MatchContext, Scheme, Weight, WeightSource } from "./scheme.ts"

const NAME = "pack-quantized"
const CODES = ".weight_packed"
/** Columns whose groups are looked through. */
const COLUMNS_MAX = 1 << 24

export const packQuantized: Scheme = {
  name: NAME,
  row: {
    title: "INT1 to INT8 (compressed-tensors)",
    declaredAs: "compressed-tensors, pack-quantized",
    stored: "P.weight_packed I32 [out, in b/32], P.weight_scale [out, in/g], P.weight_shape, P.weight_zero_point",
    codec: "pack_quantized",
    bitsPerWeight: "1.13 to 8.25",
    reference: "compressed-tensors",
  },
  declared: (checkpoint) => declaresFormat(checkpoint, NAME),
  match,
}

function match(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (codes.dtype !== "I32" || !codes.name.endsWith(CODES)) return undefined
  const module = codes.name.slice(0, -CODES.length)
  const part = (name: string): StoredTensor | undefined => context.tensor(`${module}.${name}`)
  // Sparse Marlin weights (marlin-24) have codes of this name.
  if (part("meta") !== undefined) return undefined
  const required = (name: string): StoredTensor =>
    part(name) ?? missingPart(codes, `packed integers without ${name}`, `${module}.${name}`, context)
  const scales = required("weight_scale")
  const shapeTensor = required("weight_shape")
  const shape = readShape(shapeTensor, codes)
  const columns = shape.at(-1)!
  const packing = packingOf(codes, columns, weightSetting(context.checkpoint, module, "num_bits"))
  const dtype = floatDtype(scales)
  const placement = placeIntegerScales(codes, shape, scales, undefined)
  const order = readOrder(part("weight_g_idx"), placement, columns)
  const placed = order.tensor === undefined ? placement : wholeLines(placement)
  const zeros = zerosOf(part("weight_zero_point"), packing.bits, placement, placed, scales)
  const sources = [codeSource(codes, packing, placement), placedSource("scales", scales, placed)]
  if (zeros !== undefined) sources.push(zeros.source)
  if (order.tensor !== undefined) sources.push(orderSource(order.tensor))
  return {
    name: `${module}.weight`,
    scheme: NAME,
    codec: "pack_quantized",
    sources,
    sides: [shapeTensor, ...order.sides],
    ...placement.matrix,
    rowAlign: 1,
    columnAlign: packing.align,
    parameters: integerParameters({
      bits: packing.bits,
      dtype,
      width: placed.width,
      zeros: zeros?.kind ?? "none",
      // compressed-tensors computes in the dtype of the scales.
      arithmetic: dtype,
      variant: packing.isWords ? 1 : 0,
      groups: order.tensor === undefined ? 0 : placement.lineScales,
    }),
    shape,
    orientation: "as-stored",
  }
}

/** The dense shape, whose rows must be those of the codes. */
function readShape(tensor: StoredTensor, codes: StoredTensor): number[] {
  requireDtype(tensor, "the shape of a weight", ["I64", "I32"])
  const bytes = readTensorBytes(tensor, 64)
  const view = new DataView(bytes.buffer)
  const width = tensor.dtype === "I64" ? 8 : 4
  const sizes = Array.from({ length: bytes.length / width }, (_, i) =>
    width === 8 ? Number(view.getBigInt64(i * 8, true)) : view.getInt32(i * 4, true),
  )
  const rows = codes.shape.slice(0, -1)
  const fits = sizes.length === rows.length + 1 && sizes.length >= 2 && rows.every((size, i) => size === sizes[i])
  const isPossible = sizes.every((size) => Number.isSafeInteger(size) && size > 0)
  if (fits && isPossible && elementCount(sizes) !== undefined) return sizes
  throw tensorFault(tensor.file.path, tensor.name, "does not agree with the packed codes", {
    expected: `${shapeText(rows).slice(0, -1)}, in]`,
    found: shapeText(sizes),
  })
}

interface Packing {
  readonly bits: number
  /** Words hold floor(32/bits) codes each. */
  readonly isWords: boolean
  /** Tiles begin at multiples of so many columns. */
  readonly align: number
}

/** How many words a row of `columns` codes has tells the packing, if the bits are known or can be guessed from it. */
function packingOf(codes: StoredTensor, columns: number, declared: number | undefined): Packing {
  const words = codes.shape.at(-1)
  const isDense = (bits: number): boolean => Math.ceil((columns * bits) / 32) === words
  const isOfWords = (bits: number): boolean => Math.ceil(columns / Math.floor(32 / bits)) === words
  const candidates = declared === undefined ? [1, 2, 3, 4, 5, 6, 7, 8] : [declared]
  const dense = candidates.find((bits) => bits <= 8 && isDense(bits))
  if (dense !== undefined) return { bits: dense, isWords: false, align: 32 }
  const bits = candidates.find((candidate) => candidate <= 8 && isOfWords(candidate))
  // Of so many codes each, words and groups of 32 columns begin together.
  if (bits !== undefined) return { bits, isWords: true, align: 32 * Math.floor(32 / bits) }
  throw tensorFault(codes.file.path, codes.name, "packed integers have the wrong shape", {
    expected:
      declared === undefined
        ? `words of 1 to 8 bits for ${columns} columns`
        : `${Math.ceil((columns * declared) / 32)} words of ${declared} bits for ${columns} columns`,
    found: shapeText(codes.shape),
  })
}

function codeSource(codes: StoredTensor, packing: Packing, { matrix }: Placement): WeightSource {
  const fields = packing.isWords ? Math.floor(32 / packing.bits) : 8
  // A line whose last codes do not fill their group of eight is not cut.
  const isWhole = packing.isWords || matrix.columns % fields === 0
  const lineBytes = codes.shape.at(-1)! * 4
  return {
    role: "codes",
    tensor: codes,
    rowsPerLine: 1,
    lineBytes,
    batchBytes: matrix.batch === 1 ? 0 : matrix.rows * lineBytes,
    unitColumns: isWhole ? fields : 0,
    unitBytes: isWhole ? (packing.isWords ? 4 : packing.bits) : 0,
  }
}

/** The same scales, all of a line for each of its columns. */
function wholeLines(placement: Placement): Placement {
  return { ...placement, width: 0 }
}

interface Order {
  /** Where the groups of columns do not follow each other. */
  readonly tensor: StoredTensor | undefined
  readonly sides: readonly StoredTensor[]
}

function readOrder(tensor: StoredTensor | undefined, placement: Placement, columns: number): Order {
  if (tensor === undefined) return { tensor: undefined, sides: [] }
  requireDtype(tensor, "the groups of columns", ["I32"])
  requireShape(tensor, "the groups of columns", [columns])
  const bytes = readTensorBytes(tensor, COLUMNS_MAX * 4)
  const groups = Array.from({ length: columns }, (_, i) => new DataView(bytes.buffer).getInt32(i * 4, true))
  const { lineScales, width } = placement
  const isPlain = groups.every((group, column) => group === (width === 0 ? 0 : Math.floor(column / width)))
  // -1 stands for an order that was never set.
  if (isPlain || groups.every((group) => group === -1)) return { tensor: undefined, sides: [tensor] }
  const outside = groups.find((group) => group < 0 || group >= lineScales)
  if (outside !== undefined) {
    throw tensorFault(tensor.file.path, tensor.name, "names a group that there is not", {
      expected: `0 to ${lineScales - 1}`,
      found: `${outside}`,
    })
  }
  return { tensor, sides: [] }
}

function orderSource(tensor: StoredTensor): WeightSource {
  const place = { rowsPerLine: 0, lineBytes: tensor.size, batchBytes: 0, unitColumns: 1, unitBytes: 4 }
  return { role: "groups of columns", tensor, ...place }
}

/** `stored`: where the scales are; `placed`: how lines of scales are cut. */
function zerosOf(
  tensor: StoredTensor | undefined,
  bits: number,
  stored: Placement,
  placed: Placement,
  scales: StoredTensor,
): { readonly kind: keyof typeof ZEROS; readonly source: WeightSource } | undefined {
  if (tensor === undefined) return undefined
  requireDtype(tensor, "zero points", ["I32", "I8"])
  if (tensor.dtype === "I8") {
    requireShape(tensor, "zero points", scales.shape)
    return { kind: "bytes", source: placedSource("zero points", tensor, placed) }
  }
  const { batch, rows } = stored.matrix
  const lines = Math.ceil((rows * bits) / 32)
  const leading = scales.shape.slice(0, -2)
  requireShape(tensor, "packed zero points", [...leading, lines, stored.lineScales])
  const lineBytes = stored.lineScales * 4
  const batchBytes = batch === 1 ? 0 : lines * lineBytes
  const source =
    32 % bits === 0
      ? { rowsPerLine: 32 / bits, lineBytes, unitColumns: placed.width, unitBytes: placed.width === 0 ? 0 : 4 }
      : { rowsPerLine: 0, lineBytes: lines * lineBytes, unitColumns: 0, unitBytes: 0 }
  return { kind: "words", source: { role: "zero points", tensor, batchBytes, ...source } }
}
