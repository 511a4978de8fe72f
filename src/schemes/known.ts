/**
 * Quantized tensors that are recognised and not supported. A quantized tensor must never pass for a dense one, so
 * each way of storing codes has a row here until a scheme takes it over (and its row out). The first row that fits
 * decides, those that fit every name after all others.
 */
import type { StoredTensor } from "../containers/container.ts"
import type { Dtype } from "../containers/dtype.ts"
import type { MatchContext } from "./scheme.ts"

export interface KnownFormat {
  readonly title: string
  /** What to use instead, where support is not to be expected. */
  readonly hint?: string
  /** Last part of the name of the tensor that holds the codes, with its dot; the empty one fits every name. */
  readonly anchor: string
  readonly dtypes?: readonly Dtype[]
  /** Ends of names of which one must be there beside the anchor, in the place of `anchor`. */
  readonly partners?: readonly string[]
  readonly partnerDtypes?: readonly Dtype[]
}

const SCALE_NAMES = [".weight_scale_inv", ".scale"]
const OTHER_FORM = "use a GGUF, GPTQ, AWQ or unquantized form of the same model"

export const KNOWN_FORMATS: readonly KnownFormat[] = [
  { title: "packed weights with zero points", anchor: ".weight_zero_point", partners: [".weight_packed"] },
  { title: "packed weights in activation order", anchor: ".weight_g_idx", partners: [".weight_packed"] },
  { title: "sparse Marlin weights (marlin-24)", anchor: ".weight_packed", partners: [".meta"], hint: OTHER_FORM },
  { title: "this packed format of compressed-tensors", anchor: ".weight_packed" },
  { title: "sparse weights (2:4)", anchor: ".compressed", partners: [".bitmask"], hint: OTHER_FORM },
  { title: "FP4", anchor: "", dtypes: ["F4"] },
  { title: "FP6", anchor: "", dtypes: ["F6_E2M3", "F6_E3M2"] },
  { title: "int8", anchor: ".weight", dtypes: ["I8"], partners: SCALE_NAMES },
  { title: "EETQ", anchor: ".weight", dtypes: ["I8"], partners: [".weight_scales"], hint: OTHER_FORM },
  { title: "undeclared BitNet", anchor: ".weight", dtypes: ["U8"], partners: [".weight_scale"] },
  { title: "AWQ scales of the input (pre_quant_scale)", anchor: ".pre_quant_scale" },
  { title: "AWQ in the layout of the gemv_fast kernel", anchor: ".qweight", dtypes: ["I16"], hint: OTHER_FORM },
  { title: "FP-Quant", anchor: ".qweight", dtypes: ["U8"], partners: [".dqweight", ".scales"], hint: OTHER_FORM },
  { title: "this packing of GPTQ or AWQ", anchor: ".qweight" },
  { title: "torchao", anchor: "._weight_qdata", hint: OTHER_FORM },
  { title: "Quanto", anchor: "._data", partners: ["._scale"], hint: OTHER_FORM },
  { title: "EXL3", anchor: ".trellis", hint: OTHER_FORM },
  { title: "EXL2", anchor: ".q_weight", hint: OTHER_FORM },
  { title: "AQLM", anchor: ".codes", partners: [".codebooks"], hint: OTHER_FORM },
  { title: "VPTQ", anchor: ".indices", partners: [".centroids", ".centroids.weight"], hint: OTHER_FORM },
  { title: "QuIP#", anchor: ".Qidxs", hint: OTHER_FORM },
  { title: "SpQR", anchor: ".dense_weights", partners: [".row_offsets"], hint: OTHER_FORM },
  { title: "Marlin", anchor: ".B", dtypes: ["I32"], partners: [".s"], hint: OTHER_FORM },
  { title: "QQQ", anchor: ".B", dtypes: ["I32"], partners: [".s_channel", ".s_group"], hint: OTHER_FORM },
  { title: "HIGGS", anchor: ".weight", partners: [".tables2"], hint: OTHER_FORM },
  { title: "this packing of HQQ", anchor: ".W_q", hint: OTHER_FORM },
]

const FORMATS_BY_ANCHOR = Map.groupBy(KNOWN_FORMATS, (format) => format.anchor)

/** The last part of a name with its dot. Every anchor is one, so that a lookup replaces a walk over the table. */
function lastPart(name: string): string {
  return name.slice(Math.max(0, name.lastIndexOf(".")))
}

/** The format of which `tensor` holds codes; undefined for a dense tensor and for one that only belongs to codes. */
export function knownFormat(tensor: StoredTensor, context: MatchContext): KnownFormat | undefined {
  const fits = (format: KnownFormat): boolean => {
    if (format.dtypes !== undefined && !format.dtypes.includes(tensor.dtype)) return false
    if (format.partners === undefined) return true
    const module = tensor.name.slice(0, tensor.name.length - format.anchor.length)
    return format.partners.some((suffix) => {
      const partner = context.tensor(module + suffix)
      return partner !== undefined && (format.partnerDtypes?.includes(partner.dtype) ?? true)
    })
  }
  const named = FORMATS_BY_ANCHOR.get(lastPart(tensor.name))?.find(fits)
  return named ?? FORMATS_BY_ANCHOR.get("")?.find(fits)
}

/**
 * Last parts of names that only parts of a quantized weight have. Left over, they mean that its codes are missing.
 */
const PART_NAMES: ReadonlySet<string> = new Set([
  ".weight_scale",
  ".weight_scale_inv",
  ".weight_scale_2",
  ".weight_global_scale",
  ".weight_zero_point",
  ".weight_g_idx",
  ".absmax",
  ".quant_map",
  ".nested_absmax",
  ".qscale_weight",
  ".qzeros",
  ".g_idx",
  ".SCB",
])

/** Ends of names of parts of stacked experts, which have no module of their own. */
const STACKED_PARTS = /_(weight_scale|weight_scale_2|scale_inv)$/

/** Whether a name is that of a part beside the codes. */
export function isPartName(name: string): boolean {
  return PART_NAMES.has(lastPart(name)) || STACKED_PARTS.test(name)
}

/** Whole-number dtypes wide enough for codes. Masks are BOOL; position ids and the like are I64. */
const CODE_DTYPES: readonly Dtype[] = ["U8", "I8", "U16", "I16", "U32", "I32", "U64"]

/**
 * A sentence where a tensor that nothing claimed looks like a part of a quantized weight: scales of no codes, an E8M0
 * tensor, a matrix of whole numbers called `weight`.
 */
export function loosePart(tensor: StoredTensor): string | undefined {
  if (isPartName(tensor.name)) return "part of a quantized weight without its codes"
  if (tensor.dtype === "F8_E8M0") return "E8M0 scales without codes"
  if (isLooseCode(tensor)) return `${tensor.dtype} codes without scales`
  return undefined
}

function isLooseCode({ name, dtype, shape }: StoredTensor): boolean {
  return name.endsWith(".weight") && CODE_DTYPES.includes(dtype) && shape.length >= 2
}

/** A matrix of a dtype that holds codes in some format, whatever its name. */
export function mayBeCodes({ dtype, shape }: StoredTensor): boolean {
  return CODE_DTYPES.includes(dtype) && shape.length >= 2
}

/**
 * Last parts of names of tensors that belong to a quantized model's run time, such as ranges of activations and of
 * the KV cache.
 */
const RUNTIME_NAMES: ReadonlySet<string> = new Set([
  ".input_scale",
  ".input_global_scale",
  ".input_zero_point",
  ".input_scale_ub",
  ".activation_scale",
  ".activation_scale_ub",
  ".qscale_act",
  ".output_scale",
  ".q_scale",
  ".k_scale",
  ".v_scale",
  ".kv_scale",
  ".prob_scale",
  ".weight_shape",
])

/**
 * Whether a dense form of a quantized checkpoint has no use for the tensor. Such tensors are scalars or short
 * vectors.
 */
export function isRuntimeTensor({ name, shape }: StoredTensor): boolean {
  return shape.length <= 1 && (RUNTIME_NAMES.has(lastPart(name)) || name.endsWith("_input_scale"))
}
