/**
 * MXFP4 whose codes are called `weight`: AMD Quark and NVIDIA modelopt (`quant_algo` MXFP4, W4A8_MXFP4_FP8).
 *
 *     P.weight        U8 [batch…, out, in/2]    two codes to a byte, the low nibble is the even column
 *     P.weight_scale  U8 [batch…, out, in/32]   E8M0
 *
 * NVFP4 under these names has E4M3 scales, BitNet one scale, so that neither is taken for this.
 * Source: nvidia-modelopt 0.47.0, quantization/qtensor/mxfp4_tensor.py.
 */
import type { StoredTensor } from "../containers/container.ts"
import { tensorLine } from "../containers/quote.ts"
import { UnsupportedError } from "../errors.ts"
import { declaresMethod, findNaming } from "./fp8.ts"
import { E8M0_DTYPES, mxfp4Weight, packedGrid } from "./mxfp4.ts"
import type { MatchContext, Scheme, Weight } from "./scheme.ts"

const NAME = "mxfp4-quark"
const NAMING = { codes: ".weight", scales: ".weight_scale", dense: ".weight" }
/** Four 6-bit codes in three bytes. */
const MXFP6_GROUP_BYTES = 24

export const mxfp4Quark: Scheme = {
  name: NAME,
  row: {
    title: "MXFP4 (Quark, modelopt)",
    declaredAs: "quark; modelopt, MXFP4",
    stored: "P.weight U8 [out, in/2], P.weight_scale U8 [out, in/32]",
    codec: "mxfp4",
    bitsPerWeight: "4.25",
    reference: "nvidia-modelopt",
  },
  declared: (checkpoint) => declaresMethod(checkpoint, "quark"),
  match,
}

function match(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (codes.dtype !== "U8") return undefined
  const found = findNaming(codes, [NAMING], context)
  if (found === undefined || !E8M0_DTYPES.includes(found.scales.dtype)) return undefined
  const bytes = codes.shape.at(-1)
  const groups = found.scales.shape.at(-1)
  if (bytes !== undefined && groups !== undefined && groups > 0 && bytes === groups * MXFP6_GROUP_BYTES) {
    throw new UnsupportedError(tensorLine(codes.file.path, codes.name, "MXFP6 (Quark) is not supported"))
  }
  const grid = packedGrid(codes, found.scales)
  return mxfp4Weight({ ...found, scheme: NAME, orientation: "as-stored", codes, grid, lastScale: "infinite" })
}
