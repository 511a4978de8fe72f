/**
 * FP8 of FBGEMM (`fbgemm_fp8`: Llama-3.1-405B-FP8, Llama-4-Maverick-FP8):
 *
 *     P.weight        F8_E4M3 [out, in]       P.weight_scale        F32 [out, 1]
 *     P.gate_up_proj  F8_E4M3 [E, in, out]    P.gate_up_proj_scale  F32 [E, 1, out]
 *     P.down_proj     F8_E4M3 [E, in, out]    P.down_proj_scale     F32 [E, out, 1]
 *
 * Stacked experts stay [E, in, out], which is how Llama 4's dense experts are stored too; their scales belong to
 * columns, whatever the shape of the second one says. Source: transformers integrations/fbgemm_fp8.py.
 */
import type { StoredTensor } from "../containers/container.ts"
import { declaresMethod, findNaming, isFp8, scaledWeight } from "./fp8.ts"
import type { MatchContext, Scheme, Weight } from "./scheme.ts"

const NAME = "fp8-fbgemm"
const LINEAR = { codes: ".weight", scales: ".weight_scale", dense: ".weight" }
const STACKED = { codes: "_proj", scales: "_proj_scale", dense: "_proj" }

export const fp8Fbgemm: Scheme = {
  name: NAME,
  row: {
    title: "FP8 (FBGEMM)",
    declaredAs: "fbgemm_fp8",
    stored: "P.weight F8 [out, in], P.weight_scale F32 [out, 1]; P_proj F8 [E, in, out], P_proj_scale F32 [E, 1, out]",
    codec: "fp8_e4m3",
    bitsPerWeight: "8.01",
    reference: "transformers; fbgemm",
  },
  declared: (checkpoint) => declaresMethod(checkpoint, "fbgemm_fp8"),
  match,
}

function match(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (!isFp8(codes.dtype)) return undefined
  const linear = declaresMethod(context.checkpoint, "fbgemm_fp8") ? findNaming(codes, [LINEAR], context) : undefined
  if (linear !== undefined) return scaledWeight({ ...linear, scheme: NAME, codes })
  const stacked = codes.shape.length === 3 ? findNaming(codes, [STACKED], context) : undefined
  if (stacked === undefined) return undefined
  const [experts = 0, , out = 0] = codes.shape
  const { shape } = stacked.scales
  // [E, out, 1] is meant as [E, 1, out].
  const turned = shape.length === 3 && shape[0] === experts && shape[1] === out && shape[2] === 1
  const scaleShape = turned ? [experts, 1, out] : undefined
  return scaledWeight({ ...stacked, scheme: NAME, codes, scaleShape, block: [1, 1] })
}
