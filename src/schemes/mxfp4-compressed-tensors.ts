/**
 * MXFP4 of compressed-tensors, format `mxfp4-pack-quantized`:
 *
 *     P.weight_packed  U8 [batch…, out, in/2]    two codes to a byte, the low nibble is the even column
 *     P.weight_scale   U8 [batch…, out, in/32]   E8M0
 *
 * NVFP4 has the same names with E4M3 scales and a `weight_global_scale`, MXFP6 with three bytes for four codes:
 * neither is taken for this. Source: compressed_tensors 0.20.0, compressors/mxfp4.
 */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import type { StoredTensor } from "../containers/container.ts"
import { isJsonObject, jsonInteger } from "../containers/json.ts"
import { quote, tensorFault } from "../containers/quote.ts"
import { declaredFormats, declaresFormat, groupsOf } from "./compressed-tensors.ts"
import { E8M0_DTYPES, MXFP4_GROUP, missingScales, mxfp4Weight, packedGrid, requireDtype } from "./mxfp4.ts"
import type { MatchContext, Scheme, Weight } from "./scheme.ts"

const NAME = "mxfp4-compressed-tensors"
const FORMAT = "mxfp4-pack-quantized"
const CODES = ".weight_packed"
const SCALES = ".weight_scale"
/** Four 6-bit codes in three bytes. */
const MXFP6_GROUP_BYTES = 24

export const mxfp4CompressedTensors: Scheme = {
  name: NAME,
  row: {
    title: "MXFP4 (compressed-tensors)",
    declaredAs: `compressed-tensors, ${FORMAT}`,
    stored: "P.weight_packed U8 [out, in/2], P.weight_scale U8 [out, in/32]",
    codec: "mxfp4",
    bitsPerWeight: "4.25",
    reference: "compressed-tensors",
  },
  declared,
  match,
  orphan,
}

function declared(checkpoint: Checkpoint): boolean {
  return declaresFormat(checkpoint, FORMAT)
}

function match(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (!codes.name.endsWith(CODES) || codes.dtype !== "U8") return undefined
  const formats = declaredFormats(context.checkpoint)
  if (formats !== undefined && !formats.has(FORMAT)) return undefined
  const module = codes.name.slice(0, -CODES.length)
  if (context.tensor(`${module}.weight_global_scale`) !== undefined) return undefined
  const scales = context.tensor(module + SCALES)
  if (scales === undefined) missingScales(codes, module + SCALES, context)
  if (formats?.size !== 1 && isOther(codes, scales)) return undefined
  checkGroupSize(context.checkpoint, codes)
  requireDtype(scales, "MXFP4 scales", E8M0_DTYPES)
  const grid = packedGrid(codes, scales)
  return mxfp4Weight({
    name: `${module}.weight`,
    scheme: NAME,
    orientation: "as-stored",
    lastScale: "infinite",
    codes,
    scales,
    grid,
  })
}

/**
 * Without one declared format dtype and shape decide, and what they say of another format is not a fault of this one.
 */
function isOther(codes: StoredTensor, scales: StoredTensor): boolean {
  if (!E8M0_DTYPES.includes(scales.dtype)) return true
  const groups = scales.shape.at(-1)
  return groups !== undefined && groups > 0 && codes.shape.at(-1) === groups * MXFP6_GROUP_BYTES
}

/** A declared group size must be MXFP4's own: another one would mean other bytes. */
function checkGroupSize(checkpoint: Checkpoint, codes: StoredTensor): void {
  const { declared: quantization } = checkpoint
  if (quantization?.method !== "compressed-tensors") return
  for (const group of groupsOf(quantization.settings)) {
    const format = group.get("format") ?? quantization.settings.get("format")
    const weights = group.get("weights")
    if (format !== FORMAT || !isJsonObject(weights)) continue
    const size = jsonInteger(weights.get("group_size"))
    if (size === undefined || size === MXFP4_GROUP) continue
    throw tensorFault(
      codes.file.path,
      codes.name,
      `${quantization.origin} declares another group size than MXFP4 has`,
      {
        expected: String(MXFP4_GROUP),
        found: String(size),
      },
    )
  }
}

function orphan(tensor: StoredTensor, context: MatchContext): string | undefined {
  if (!tensor.name.endsWith(SCALES) || !E8M0_DTYPES.includes(tensor.dtype)) return undefined
  const module = tensor.name.slice(0, -SCALES.length)
  if (context.tensor(`${module}.weight`) !== undefined) return undefined
  return `scales without codes (expected tensor ${quote(module + CODES)}, found nothing)`
}
