/**
 * FP8 as transformers' `fp8` and `mxfp8` methods and their forerunners store it: one scale for each block of 128 × 128
 * (DeepSeek-V3, Qwen3, GLM, Kimi-K2, MiniMax), for 1 × 32 (MXFP8), or for the whole matrix (AutoFP8).
 *
 *     P.weight       F8 [out, in]       P.weight_scale_inv  [ceil(out/128), ceil(in/128)] or []
 *     P.weight       F8 [out, in]       P.weight_scale      AutoFP8: [] or [1]
 *     P              F8 [E, out, in]    P_scale_inv         [E, out/128, in/128], stacked experts
 *
 * Despite its name `scale_inv` multiplies. Sources: deepseek-ai/DeepSeek-V3 inference/kernel.py, transformers
 * integrations/finegrained_fp8.py.
 */
import type { StoredTensor } from "../containers/container.ts"
import { declaredBlock, declaresMethod, findNaming, isFp8, type Naming, scaledWeight } from "./fp8.ts"
import type { MatchContext, Scheme, Weight } from "./scheme.ts"

const NAME = "fp8"

const NAMINGS: readonly Naming[] = [
  { codes: ".weight", scales: ".weight_scale_inv", dense: ".weight" },
  { codes: ".weight", scales: ".weight_scale", dense: ".weight" },
  { codes: "", scales: "_scale_inv", dense: "" },
]

export const fp8Blocks: Scheme = {
  name: NAME,
  row: {
    title: "FP8 (DeepSeek-V3, Qwen3, AutoFP8, MXFP8)",
    declaredAs: "fp8, mxfp8",
    stored: "P.weight F8 [out, in], P.weight_scale_inv or P.weight_scale [out/128, in/128], [out, in/32] or []",
    codec: "fp8_e4m3",
    bitsPerWeight: "8.00 to 8.25",
    reference: "DeepSeek-V3; transformers",
  },
  declared: (checkpoint) => declaresMethod(checkpoint, "fp8", "mxfp8"),
  match,
}

function match(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (!isFp8(codes.dtype)) return undefined
  const found = findNaming(codes, NAMINGS, context)
  if (found === undefined) return undefined
  const block = declaredBlock(context.checkpoint.declared?.settings.get("weight_block_size"))
  return scaledWeight({ ...found, scheme: NAME, codes, block })
}
