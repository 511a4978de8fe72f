/**
 * FP8 under Mistral's own names (consolidated.safetensors): a scale for the whole matrix that multiplies, and one of
 * the activations.
 *
 *     layers.N.attention.wq.weight  F8_E4M3 [out, in]    layers.N.attention.wq.qscale_weight  F32 or BF16 []
 */
import type { StoredTensor } from "../containers/container.ts"
import { findNaming, isFp8, scaledWeight } from "./fp8.ts"
import type { MatchContext, Scheme, Weight } from "./scheme.ts"

const NAME = "fp8-mistral"
const NAMING = { codes: ".weight", scales: ".qscale_weight", dense: ".weight" }

export const fp8Mistral: Scheme = {
  name: NAME,
  row: {
    title: "FP8 (Mistral)",
    declaredAs: "nothing",
    stored: "P.weight F8 [out, in], P.qscale_weight []",
    codec: "fp8_e4m3",
    bitsPerWeight: "8.00",
    reference: "vLLM's arithmetic",
  },
  declared: () => false,
  match,
}

function match(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (!isFp8(codes.dtype)) return undefined
  const found = findNaming(codes, [NAMING], context)
  return found && scaledWeight({ ...found, scheme: NAME, codes })
}
