/**
 * MXFP6 of compressed-tensors, format `mxfp6-pack-quantized`: E2M3 codes, four in three bytes.
 *
 *     P.weight_packed  U8 [batch…, out, 3 in/4]
 *     P.weight_scale   U8 [batch…, out, in/32]   E8M0
 *
 * Source: compressed_tensors 0.20.0, compressors/mxfp6.
 */
import type { StoredTensor } from "../containers/container.ts"
import { declaresFormat } from "./compressed-tensors.ts"
import { scaleArithmetic, scaledWeight } from "./fp8.ts"
import { E8M0_DTYPES, requireShape } from "./mxfp4.ts"
import type { MatchContext, Scheme, Weight } from "./scheme.ts"

const NAME = "mxfp6-compressed-tensors"
const CODES = ".weight_packed"
/** Columns that share a scale, and the bytes of their codes. */
const GROUP = 32
const GROUP_BYTES = 24

export const mxfp6CompressedTensors: Scheme = {
  name: NAME,
  row: {
    title: "MXFP6 (compressed-tensors)",
    declaredAs: "compressed-tensors, mxfp6-pack-quantized",
    stored: "P.weight_packed U8 [out, 3 in/4], P.weight_scale U8 [out, in/32]",
    codec: "mxfp6_e2m3",
    bitsPerWeight: "6.25",
    reference: "compressed-tensors",
  },
  declared: (checkpoint) => declaresFormat(checkpoint, "mxfp6-pack-quantized"),
  match,
}

/** MXFP4 has the same names; the bytes under a scale tell them apart. */
function match(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (!codes.name.endsWith(CODES) || codes.dtype !== "U8") return undefined
  const module = codes.name.slice(0, -CODES.length)
  const scales = context.tensor(`${module}.weight_scale`)
  if (scales === undefined || !E8M0_DTYPES.includes(scales.dtype)) return undefined
  const groups = scales.shape.at(-1)
  if (groups === undefined || groups === 0 || codes.shape.at(-1) !== groups * GROUP_BYTES) return undefined
  requireShape(scales, "MXFP6 scales", [...codes.shape.slice(0, -1), groups])
  const name = `${module}.weight`
  const arithmetic = scaleArithmetic(scales)
  return scaledWeight({ name, scheme: NAME, codes, scales, arithmetic, packed: "mxfp6_e2m3", block: [1, GROUP] })
}
