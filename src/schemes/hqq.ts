/**
 * HQQ of 8, 4, 2 and 1 bits, as the library saves its layers in safetensors:
 *
 *     P.W_q    U8 [rows/per, columns]  of the weight's view [groups, g] (axis 1) or [g, groups] (axis 0); a byte holds
 *                                      `per` rows, a part of the view apart, the first in the highest bits. Seen as the
 *                                      dtype of the scales where `view_as_float` was set
 *     P.scale  F16, BF16 or F32        [groups, 1] or [1, groups]
 *     P.zero   likewise
 *     P.shape  I64 [2], P.nbits, P.group_size, P.axis I32 [], P.packing, … say what the codes are
 *
 * Source: hqq 0.2.8, hqq/core/quantize.py, hqq/core/bitpack.py, hqq/core/utils.py (encode_safetensor_type).
 */
import type { StoredTensor } from "../containers/container.ts"
import { type Dtype, elementCount } from "../containers/dtype.ts"
import { tensorFault, tensorLine } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { readTensorBytes } from "../containers/tensor-bytes.ts"
import { UnsupportedError } from "../errors.ts"
import { affineRowsWeight, type Beside } from "./affine-rows.ts"
import { declaresMethod, missingPart } from "./fp8.ts"
import { requireDtype, requireShape } from "./mxfp4.ts"
import type { MatchContext, Scheme, Weight } from "./scheme.ts"

const NAME = "hqq"
const CODES = ".W_q"
/** Tensors beside the codes, scales and zeros. `bias` is the layer's own. */
const SIDES = [
  ...["shape", "nbits", "group_size", "axis", "packing", "unpack_view_dtype", "view_as_float", "compute_dtype"],
  ...["offload_meta", "encoded_state_dict", "stores_quant_config", "channel_wise", "optimize", "round_zero"],
  ...["quant_scale", "quant_zero"],
]
const READ_BITS = [1, 2, 4, 8]
const SIDE_BYTES_MAX = 256

export const hqq: Scheme = {
  name: NAME,
  row: {
    title: "HQQ of 8, 4, 2 and 1 bits",
    declaredAs: "hqq",
    stored: "P.W_q U8, P.scale and P.zero [groups, 1] or [1, groups], P.shape I64 [2], P.nbits, P.axis, …",
    codec: "hqq",
    bitsPerWeight: "1.50 to 8.50",
    reference: "hqq",
  },
  declared: (checkpoint) => declaresMethod(checkpoint, "hqq"),
  match,
}

function match(codes: StoredTensor, context: MatchContext): Weight | undefined {
  // Other methods have codes of this name too.
  const { declared } = context.checkpoint
  if (!codes.name.endsWith(CODES) || (declared !== undefined && declared.method !== NAME)) return undefined
  const module = codes.name.slice(0, -CODES.length)
  const part = (name: string): StoredTensor =>
    context.tensor(`${module}.${name}`) ??
    missingPart(codes, `HQQ codes without their ${name}`, `${module}.${name}`, context)
  const scales = part("scale")
  const zeros = part("zero")
  const shape = part("shape")
  const bits = readNumber(part("nbits"))
  const axis = readNumber(part("axis"))
  if (!READ_BITS.includes(bits)) {
    const what = `HQQ of ${bits} bits is not supported`
    throw new UnsupportedError(tensorLine(codes.file.path, codes.name, what), {
      hint: "use a form of the same model with 8, 4, 2 or 1 bits",
    })
  }
  if (axis !== 0 && axis !== 1) {
    const found = `${axis}`
    throw tensorFault(part("axis").file.path, part("axis").name, "is no axis of a matrix", {
      expected: "0 or 1",
      found,
    })
  }
  const sides = SIDES.flatMap((name) => context.tensor(`${module}.${name}`) ?? [])
  const dense = readShape(shape)
  return hqqWeight({ name: `${module}.weight`, codes, scales, zeros, bits, axis, dense, sides })
}

interface HqqParts {
  readonly name: string
  readonly codes: StoredTensor
  readonly scales: StoredTensor
  readonly zeros: StoredTensor
  readonly bits: number
  readonly axis: 0 | 1
  /** [out, in]. */
  readonly dense: readonly number[]
  readonly sides: readonly StoredTensor[]
}

function hqqWeight(parts: HqqParts): Weight {
  const { name, codes, scales, zeros, bits, axis, dense, sides } = parts
  requireDtype(scales, "HQQ scales", ["F16", "BF16", "F32"])
  // Codes may be seen as floats: their bytes count.
  requireDtype(codes, "HQQ codes", ["U8", ...(scales.dtype === "U8" ? [] : [scales.dtype])])
  requireDtype(zeros, "HQQ zeros", [scales.dtype])
  requireShape(zeros, "HQQ zeros", scales.shape)
  const count = elementCount(dense) ?? 0
  const groups = elementCount(scales.shape) ?? 0
  const batch = 8 / bits
  const wanted = axis === 1 ? [groups, 1] : [1, groups]
  requireShape(scales, "HQQ scales", wanted)
  if (count === 0 || groups === 0 || codes.size * batch !== count || count % groups !== 0) {
    throw tensorFault(codes.file.path, codes.name, "HQQ codes have the wrong shape", {
      expected: `${count / batch} bytes in equal groups for ${shapeText(dense)} of ${bits} bits`,
      found: `${shapeText(codes.shape)} of ${codes.dtype} and ${groups} groups`,
    })
  }
  const group = count / groups
  const view = axis === 1 ? groups : group
  if (view % batch !== 0) {
    throw tensorFault(codes.file.path, codes.name, "HQQ codes have the wrong shape", {
      expected: `rows that ${batch} to a byte divide`,
      found: `${view} rows of the view of groups`,
    })
  }
  const place = placeOf(parts, groups, group, batch)
  const beside = (tensor: StoredTensor): Beside => ({ tensor, ...place.beside })
  return affineRowsWeight({
    name,
    scheme: NAME,
    codec: "hqq",
    codes,
    byteColumns: 1,
    scales: beside(scales),
    zeros: beside(zeros),
    batch,
    rows: place.rows,
    columns: place.columns,
    shape: dense,
    parameters: [bits],
    sides,
  })
}

/** Rows and columns of the part that a field of each byte makes, and where the scales of these are. */
function placeOf({ scales, axis, dense }: HqqParts, groups: number, group: number, batch: number) {
  const unitBytes = scales.size / groups
  if (axis === 0) {
    const beside = { rowsPerLine: 0, width: 1, unitBytes, lineBytes: groups * unitBytes, batchBytes: 0 }
    return { rows: group / batch, columns: groups, beside }
  }
  // Rows of the dense matrix where groups and parts are whole in them; else each group is a row.
  const input = dense[1]!
  const isWhole = input % group === 0 && (dense[0]! % batch === 0 || batch === 1)
  const columns = isWhole ? input : group
  const rows = (groups * group) / batch / columns
  const lineBytes = (columns / group) * unitBytes
  return { rows, columns, beside: { rowsPerLine: 1, width: group, unitBytes, lineBytes, batchBytes: rows * lineBytes } }
}

/** A whole number that is a tensor: I32 [], of older versions a float. */
function readNumber(tensor: StoredTensor): number {
  const { bytes, view } = bytesOf(tensor, ["I32", "I64", "U8", "F32"], 1)
  if (tensor.dtype === "U8") return bytes[0]!
  if (tensor.dtype === "F32") return view.getFloat32(0, true)
  return tensor.dtype === "I32" ? view.getInt32(0, true) : Number(view.getBigInt64(0, true))
}

function readShape(tensor: StoredTensor): number[] {
  const { view } = bytesOf(tensor, ["I64"], 2)
  const dense = [view.getBigInt64(0, true), view.getBigInt64(8, true)].map(Number)
  const count = elementCount(dense)
  if (dense.every((size) => size > 0) && count !== undefined) return dense
  throw tensorFault(tensor.file.path, tensor.name, "is no shape of a matrix", {
    expected: "two positive numbers",
    found: shapeText(dense),
  })
}

function bytesOf(tensor: StoredTensor, dtypes: readonly Dtype[], count: number) {
  requireDtype(tensor, "numbers about HQQ codes", dtypes)
  if (elementCount(tensor.shape) !== count) {
    const found = shapeText(tensor.shape)
    throw tensorFault(tensor.file.path, tensor.name, "has the wrong shape", { expected: `${count} numbers`, found })
  }
  const bytes = readTensorBytes(tensor, SIDE_BYTES_MAX)
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) }
}
