/**
 * NVFP4 of compressed-tensors, format `nvfp4-pack-quantized`:
 *
 *     P.weight_packed        U8       [batch…, out, in/2]
 *     P.weight_scale         F8_E4M3  [batch…, out, in/16]
 *     P.weight_global_scale  F32      [1] or [E]; divides
 *
 * Source: compressed_tensors 0.20.0, compressors/nvfp4.
 */
import type { StoredTensor } from "../containers/container.ts"
import { declaresFormat } from "./compressed-tensors.ts"
import { missingPart } from "./fp8.ts"
import { nvfp4Weight } from "./nvfp4.ts"
import type { MatchContext, Scheme, Weight } from "./scheme.ts"

const NAME = "nvfp4-compressed-tensors"
const CODES = ".weight_packed"

export const nvfp4CompressedTensors: Scheme = {
  name: NAME,
  row: {
    title: "NVFP4 (compressed-tensors)",
    declaredAs: "compressed-tensors, nvfp4-pack-quantized",
    stored: "P.weight_packed U8 [out, in/2], P.weight_scale F8_E4M3 [out, in/16], P.weight_global_scale F32 [1]",
    codec: "nvfp4",
    bitsPerWeight: "4.50",
    reference: "compressed-tensors",
  },
  declared: (checkpoint) => declaresFormat(checkpoint, "nvfp4-pack-quantized"),
  match,
}

function match(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (!codes.name.endsWith(CODES) || codes.dtype !== "U8") return undefined
  const module = codes.name.slice(0, -CODES.length)
  const scales = context.tensor(`${module}.weight_scale`)
  const whole = context.tensor(`${module}.weight_global_scale`)
  if (whole === undefined) {
    if (scales?.dtype !== "F8_E4M3") return undefined
    missingPart(codes, "NVFP4 codes without the scale of the whole", `${module}.weight_global_scale`, context)
  }
  if (scales === undefined) missingPart(codes, "NVFP4 codes without scales", `${module}.weight_scale`, context)
  const parts = { codes, scales, whole }
  return nvfp4Weight({ name: `${module}.weight`, scheme: NAME, ...parts, how: "divide", positiveZero: false })
}
