/**
 * DeepSeek-V4: two formats under one naming, with E8M0 scales called `.scale`.
 *
 *     P.weight  F8_E4M3 [out, in]      P.scale  F8_E8M0 [out/128, in/128]    attention, shared experts
 *     P.weight  I8      [out, in/2]    P.scale  F8_E8M0 [out, in/32]         routed experts: MXFP4, not int8
 *
 * Other tensors that end in `.scale` have no such sibling. Source: transformers integrations/finegrained_fp8.py.
 */
import type { StoredTensor } from "../containers/container.ts"
import { declaredBlock, findNaming, isFp8, scaledWeight } from "./fp8.ts"
import { E8M0_DTYPES, mxfp4Weight, packedGrid } from "./mxfp4.ts"
import type { MatchContext, Scheme, Weight } from "./scheme.ts"

const FP8_NAME = "fp8-deepseek-v4"
const MXFP4_NAME = "mxfp4-deepseek-v4"
const NAMING = { codes: ".weight", scales: ".scale", dense: ".weight" }

export const fp8DeepseekV4: Scheme = {
  name: FP8_NAME,
  row: {
    title: "FP8 (DeepSeek-V4)",
    declaredAs: "fp8",
    stored: "P.weight F8 [out, in], P.scale F8_E8M0 or F32 [out/128, in/128]",
    codec: "fp8_e4m3",
    bitsPerWeight: "8.00",
    reference: "transformers",
  },
  declared: () => false,
  match: matchFp8,
}

export const mxfp4DeepseekV4: Scheme = {
  name: MXFP4_NAME,
  row: {
    title: "MXFP4 experts (DeepSeek-V4)",
    declaredAs: "fp8, expert_dtype fp4",
    stored: "P.weight I8 [out, in/2], P.scale F8_E8M0 [out, in/32]",
    codec: "mxfp4",
    bitsPerWeight: "4.25",
    reference: "transformers",
  },
  declared: () => false,
  match: matchMxfp4,
}

function matchFp8(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (!isFp8(codes.dtype)) return undefined
  const found = findNaming(codes, [NAMING], context)
  if (found === undefined) return undefined
  const block = declaredBlock(context.checkpoint.declared?.settings.get("weight_block_size"))
  return scaledWeight({ ...found, scheme: FP8_NAME, codes, block })
}

function matchMxfp4(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (codes.dtype !== "I8") return undefined
  const found = findNaming(codes, [NAMING], context)
  if (found === undefined || !E8M0_DTYPES.includes(found.scales.dtype)) return undefined
  const grid = packedGrid(codes, found.scales)
  const lastScale = found.scales.dtype === "U8" ? "infinite" : "nan"
  return mxfp4Weight({ ...found, scheme: MXFP4_NAME, orientation: "as-stored", codes, grid, lastScale })
}
