/**
 * FP8 of compressed-tensors, formats `float-quantized`, `naive-quantized` and `mxfp8-quantized`:
 *
 *     P.weight        F8 [batch…, out, in]
 *     P.weight_scale  BF16, F16 or F32: [1] per tensor, [out, 1] per channel, [out, in/g] per group,
 *                     [ceil(out/b), ceil(in/b)] per block; U8 [out, in/32] of MXFP8
 *
 * Products are rounded in the dtype of the scale before they become the output's. Source: compressed_tensors 0.20.0,
 * compressors/naive_quantized, compressors/mxfp8, quantization/lifecycle/forward_helpers.py.
 */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import type { StoredTensor } from "../containers/container.ts"
import { isJsonObject } from "../containers/json.ts"
import { tensorFault } from "../containers/quote.ts"
import { declaresFormat, groupsOf } from "./compressed-tensors.ts"
import { declaredBlock, declaresMethod, findNaming, isFp8, scaleArithmetic, scaledWeight } from "./fp8.ts"
import type { Block } from "./scale-grid.ts"
import type { MatchContext, Scheme, Weight } from "./scheme.ts"

const NAME = "fp8-compressed-tensors"
const FORMATS = ["float-quantized", "naive-quantized", "mxfp8-quantized"]
const NAMING = { codes: ".weight", scales: ".weight_scale", dense: ".weight" }

export const fp8CompressedTensors: Scheme = {
  name: NAME,
  row: {
    title: "FP8 and MXFP8 (compressed-tensors)",
    declaredAs: "compressed-tensors, float-quantized, mxfp8-quantized",
    stored: "P.weight F8 [out, in], P.weight_scale [1], [out, 1], [out, in/g], [out/128, in/128] or U8 [out, in/32]",
    codec: "fp8_e4m3",
    bitsPerWeight: "8.00 to 8.25",
    reference: "compressed-tensors",
  },
  declared: (checkpoint) => declaresFormat(checkpoint, ...FORMATS),
  match,
}

function match(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (!isFp8(codes.dtype) || !declaresMethod(context.checkpoint, "compressed-tensors")) return undefined
  const found = findNaming(codes, [NAMING], context)
  if (found === undefined) return undefined
  const zeroPoints = context.tensor(found.name.replace(/\.weight$/, ".weight_zero_point"))
  if (zeroPoints !== undefined) {
    throw tensorFault(zeroPoints.file.path, zeroPoints.name, "zero points beside FP8 codes, which have none")
  }
  const arithmetic = scaleArithmetic(found.scales)
  return scaledWeight({ ...found, scheme: NAME, codes, arithmetic, block: groupBlock(context.checkpoint) })
}

/** `block_structure` where the groups agree on one; their targets need not be looked at then. */
function groupBlock({ declared }: Checkpoint): Block | undefined {
  const blocks = groupsOf(declared?.settings ?? new Map()).flatMap((group) => {
    const weights = group.get("weights")
    const block = isJsonObject(weights) ? declaredBlock(weights.get("block_structure")) : undefined
    return block === undefined ? [] : [block]
  })
  const [first, ...others] = blocks
  return others.every((block) => block[0] === first?.[0] && block[1] === first?.[1]) ? first : undefined
}
