/**
 * GPTQ, of 2 to 8 bits, as AutoGPTQ, GPTQModel and auto-round write it:
 *
 *     P.qweight  I32 [in · bits / 32, out]     packed along the inputs
 *     P.qzeros   I32 [groups, out · bits / 32]
 *     P.scales   F16, BF16 or F32 [groups, out]
 *     P.g_idx    I32 [in]                      the group of each input; absent: groups follow each other
 *
 * Bits and groups are told by the shapes, so that overrides for single modules (`dynamic`, `extra_config`) need no
 * looking up. The config tells which of the formats it is: zeros stored less one ("gptq", and auto-round's
 * "auto_round:auto_gptq"), zeros as they are ("gptq_v2", other packings of auto-round), planes of bits ("gptq_p").
 * Sources: GPTQModel 7.7.0, utils/model.py and utils/planar_packing.py; auto-round 0.16.1, auto_round_extension/torch.
 */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import type { StoredTensor } from "../containers/container.ts"
import { jsonInteger } from "../containers/json.ts"
import { quote, tensorFault, tensorLine } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { UnsupportedError } from "../errors.ts"
import { affineWeight, groupRowsOf, packingOf, wordCount } from "./affine.ts"
import { affineDisagreements } from "./affine-settings.ts"
import { missingPart } from "./fp8.ts"
import { requireShape } from "./mxfp4.ts"
import type { MatchContext, Scheme, Weight } from "./scheme.ts"

const NAME = "gptq"
const CODES = ".qweight"
const BITS = [2, 3, 4, 5, 6, 7, 8]

export const gptq: Scheme = {
  name: NAME,
  row: {
    title: "GPTQ (AutoGPTQ, GPTQModel, auto-round)",
    declaredAs: "gptq, checkpoint_format gptq, gptq_v2, gptq_p; auto-round",
    stored: "P.qweight I32 [in b/32, out], P.qzeros I32 [in/g, out b/32], P.scales [in/g, out], P.g_idx I32 [in]",
    codec: "gptq",
    bitsPerWeight: "2.14 to 8.19",
    reference: "GPTQModel; auto-round",
  },
  declared: (checkpoint) => formatOf(checkpoint) !== undefined,
  match,
  disagreements: affineDisagreements,
}

/** auto-round's name for how it packs. */
export function autoRoundPacking({ declared }: Checkpoint): string | undefined {
  if (declared?.method !== "auto-round" && declared?.method !== "intel/auto-round") return undefined
  const packing = declared.settings.get("packing_format") ?? declared.settings.get("backend")
  return typeof packing === "string" ? packing.toLowerCase() : "auto_round:auto_gptq"
}

/** What the config calls the format; undefined where it declares something else. */
function formatOf(checkpoint: Checkpoint): string | undefined {
  const packing = autoRoundPacking(checkpoint)
  if (packing !== undefined) {
    if (packing.includes("awq")) return undefined
    return packing.includes("gptq") && !packing.includes("gptqmodel") ? "gptq" : "auto_round"
  }
  const { declared } = checkpoint
  if (declared?.method !== "gptq" && declared?.method !== "gptqmodel") return undefined
  const format = declared.settings.get("checkpoint_format") ?? declared.settings.get("format")
  if (declared.settings.get("is_marlin_format") === true) return "marlin"
  return typeof format === "string" ? format.toLowerCase() : "gptq"
}

/** Formats of other schemes that GPTQModel writes under the method "gptq". */
const READ_FORMATS: ReadonlySet<string> = new Set(["gptq", "gptq_v2", "gptq_p", "auto_round"])

function match(codes: StoredTensor, context: MatchContext): Weight | undefined {
  const { checkpoint } = context
  if (!codes.name.endsWith(CODES) || checkpoint.declared?.method === "awq") return undefined
  const module = codes.name.slice(0, -CODES.length)
  const scales = context.tensor(`${module}.scales`)
  const format = formatOf(checkpoint)
  const isGptq = codes.dtype === "I32" && codes.shape[1] === scales?.shape[1]
  if (format === undefined && !isGptq) return undefined
  if (format !== undefined && !READ_FORMATS.has(format)) {
    const what = `GPTQ in the format ${quote(format)} is not supported`
    throw new UnsupportedError(tensorLine(codes.file.path, codes.name, what), {
      hint: 'use a checkpoint in the format "gptq" or "gptq_v2" of the same model',
    })
  }
  if (codes.dtype !== "I32") {
    const what = `GPTQ in words of ${codes.dtype} is not supported`
    throw new UnsupportedError(tensorLine(codes.file.path, codes.name, what), {
      hint: "pack the checkpoint in words of 32 bits (pack_dtype int32)",
    })
  }
  if (scales === undefined) missingPart(codes, "GPTQ codes without scales", `${module}.scales`, context)
  if (codes.shape.length !== 2 || scales.shape.length !== 2 || codes.shape[1] !== scales.shape[1]) {
    throw tensorFault(scales.file.path, scales.name, `scales have the wrong shape for ${quote(codes.name)}`, {
      expected: `[groups, ${codes.shape.at(-1) ?? "out"}]`,
      found: shapeText(scales.shape),
    })
  }
  const zeros = context.tensor(`${module}.qzeros`)
  const order = context.tensor(`${module}.g_idx`)
  return gptqWeight({ module, codes, scales, zeros, order, format }, context)
}

interface GptqParts {
  readonly module: string
  readonly codes: StoredTensor
  readonly scales: StoredTensor
  readonly zeros: StoredTensor | undefined
  readonly order: StoredTensor | undefined
  readonly format: string | undefined
}

function gptqWeight(parts: GptqParts, context: MatchContext): Weight {
  const { module, codes, scales, zeros, order, format } = parts
  const settings = context.checkpoint.declared?.settings
  const declaredBits = jsonInteger(settings?.get("bits"))
  const bits = bitsOf(parts, declaredBits)
  const output = codes.shape[1]!
  const groups = scales.shape[0]!
  if (zeros === undefined) {
    if (settings?.get("sym") !== true) {
      missingPart(codes, "GPTQ codes without zeros", `${module}.qzeros`, context)
    }
  } else {
    if (format === undefined) throw undeclared(codes)
    requireShape(zeros, "GPTQ zeros", [groups, wordCount(output, bits)])
  }
  const { fields, words } = packingOf(bits)
  const input = order?.shape[0] ?? (codes.shape[0]! / words) * fields
  // Where g_idx names the groups their size matters only for one that was never filled in.
  const declaredSize = jsonInteger(settings?.get("group_size"))
  const equal = Math.max(1, Math.ceil(input / Math.max(1, groups)))
  // GPTQModel has planes for all widths above 4, whatever the config says; auto-round has none.
  const isPlanar =
    32 % bits !== 0 && autoRoundPacking(context.checkpoint) === undefined && (format === "gptq_p" || bits > 4)
  return affineWeight({
    name: `${module}.weight`,
    scheme: NAME,
    codec: "gptq",
    codes,
    input,
    output,
    scales,
    zeros,
    zeroForm: format === "gptq" && !isPlanar ? "less one" : "stored",
    order,
    groupRows: order === undefined ? groupRowsOf(scales, input, declaredSize) : sizeOf(declaredSize, input, equal),
    bits,
    isPlanar,
    orientation: isConv1d(module, context) ? "as-stored" : "always-transposed",
  })
}

function sizeOf(declared: number | undefined, input: number, equal: number): number {
  if (declared === undefined || declared <= 0) return declared === -1 ? Math.max(1, input) : equal
  return Math.ceil(input / declared) === Math.ceil(input / equal) ? declared : equal
}

function undeclared(codes: StoredTensor) {
  return tensorFault(codes.file.path, codes.name, "nothing declares which format of GPTQ this is", {
    expected: "a config.json or quantize_config.json with its settings",
    found: "neither",
    hint: "the formats differ in their zeros: put the model's config beside the file",
  })
}

/** The one width that fits all shapes. Throws MalformedError where there is none, or where nothing tells. */
function bitsOf({ codes, zeros, order, scales }: GptqParts, declared: number | undefined): number {
  const rows = codes.shape[0]!
  const output = codes.shape[1]!
  const fits = (bits: number): boolean => {
    const isWhole = rows % packingOf(bits).words === 0
    const fitsZeros = zeros === undefined || zeros.shape[1] === wordCount(output, bits)
    return isWhole && fitsZeros && (order === undefined || rows === wordCount(order.shape[0] ?? 0, bits))
  }
  const possible = BITS.filter(fits)
  if (possible.length === 1) return possible[0]!
  if (declared !== undefined && possible.includes(declared)) return declared
  const beside = [zeros, order].filter((tensor) => tensor !== undefined)
  const shapes = [scales, ...beside].map((tensor) => `${quote(tensor.name)} is ${shapeText(tensor.shape)}`)
  const what = beside.length === 0 ? "nothing tells of how many bits GPTQ codes are" : "GPTQ codes fit no width"
  throw tensorFault(codes.file.path, codes.name, what, {
    expected: beside.length === 0 ? '"bits" in the config' : "a width of 2 to 8 bits that all parts have",
    found: `${shapeText(codes.shape)}, where ${shapes.join(", ")}`,
  })
}

/** Models whose layers are Conv1D, which are [in, out] in the dense model too, and those layers. */
const CONV1D_MODELS: ReadonlySet<unknown> = new Set(["gpt2", "openai-gpt", "imagegpt", "decision_transformer"])
const CONV1D_NAME = /(^|\.)(c_attn|c_proj|c_fc|q_attn)$/

function isConv1d(module: string, { checkpoint }: MatchContext): boolean {
  return CONV1D_MODELS.has(checkpoint.config?.get("model_type")) && CONV1D_NAME.test(module)
}
