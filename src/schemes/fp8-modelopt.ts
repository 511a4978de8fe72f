/**
 * FP8 of NVIDIA modelopt, `quant_algo` FP8, FP8_PB_WO, FP8_PC_PT and MXFP8:
 *
 *     P.weight   F8 [out, in]       P.weight_scale   F32 [], [out], [ob, ib]; U8 [out, in/32] of MXFP8
 *     P          F8 [E, …, …]       P_weight_scale   F32 [] , [E], [E, 1] or [E, out], fused experts
 *
 * Scales multiply in F32, as vLLM and TensorRT-LLM apply them; modelopt's own dequantize rounds an F32 scale to the
 * output's dtype first. Source: nvidia-modelopt 0.47.0, export/unified_export_hf.py, export/quant_utils.py.
 */
import type { StoredTensor } from "../containers/container.ts"
import { declaresMethod, findNaming, isFp8, type Naming, scaledWeight } from "./fp8.ts"
import type { MatchContext, Scheme, Weight } from "./scheme.ts"

const NAME = "fp8-modelopt"

const NAMINGS: readonly Naming[] = [
  { codes: ".weight", scales: ".weight_scale", dense: ".weight" },
  { codes: "", scales: "_weight_scale", dense: "" },
]

export const fp8Modelopt: Scheme = {
  name: NAME,
  row: {
    title: "FP8 and MXFP8 (modelopt)",
    declaredAs: "modelopt, FP8, FP8_PB_WO, FP8_PC_PT, MXFP8",
    stored: "P.weight F8 [out, in], P.weight_scale F32 [], [out] or [out/128, in/128] or U8 [out, in/32]",
    codec: "fp8_e4m3",
    bitsPerWeight: "8.00 to 8.25",
    reference: "vLLM's arithmetic",
  },
  declared: (checkpoint) => declaresMethod(checkpoint, "modelopt"),
  match,
}

function match(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (!isFp8(codes.dtype)) return undefined
  // Where nothing is declared, `.weight_scale` belongs to the plain form, which is the same arithmetic.
  const namings = declaresMethod(context.checkpoint, "modelopt") ? NAMINGS : NAMINGS.slice(1)
  const found = findNaming(codes, namings, context)
  return found && scaledWeight({ ...found, scheme: NAME, codes })
}
