/**
 * NVFP4 of NVIDIA modelopt, `quant_algo` NVFP4, W4A16_NVFP4, NVFP4_AWQ:
 *
 *     P.weight           U8       [batch…, out, in/2]
 *     P.weight_scale     F8_E4M3  [batch…, out, in/16]
 *     P.weight_scale_2   F32      [] or [E]; multiplies
 *     P.pre_quant_scale  [in], where AWQ left it: multiplies the layer's input, and so the columns here
 *
 * Source: nvidia-modelopt 0.47.0, quantization/qtensor/nvfp4_tensor.py, export/unified_export_hf.py.
 */
import type { StoredTensor } from "../containers/container.ts"
import { tensorLine } from "../containers/quote.ts"
import { UnsupportedError } from "../errors.ts"
import { declaresMethod, missingPart } from "./fp8.ts"
import { nvfp4Weight } from "./nvfp4.ts"
import type { MatchContext, Scheme, Weight } from "./scheme.ts"

const NAME = "nvfp4-modelopt"
const CODES = ".weight"

export const nvfp4Modelopt: Scheme = {
  name: NAME,
  row: {
    title: "NVFP4 (modelopt)",
    declaredAs: "modelopt, NVFP4, W4A16_NVFP4, NVFP4_AWQ",
    stored: "P.weight U8 [out, in/2], P.weight_scale F8_E4M3 [out, in/16], P.weight_scale_2 F32 []",
    codec: "nvfp4",
    bitsPerWeight: "4.50",
    reference: "nvidia-modelopt",
  },
  declared: (checkpoint) => declaresMethod(checkpoint, "modelopt", "modelopt_fp4", "nvfp4"),
  match,
}

function match(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (!codes.name.endsWith(CODES) || codes.dtype !== "U8") return undefined
  const module = codes.name.slice(0, -CODES.length)
  const scales = context.tensor(`${module}.weight_scale`)
  const whole = context.tensor(`${module}.weight_scale_2`)
  if (whole === undefined) {
    if (scales?.dtype !== "F8_E4M3") return undefined
    missingPart(codes, "NVFP4 codes without the scale of the whole", `${module}.weight_scale_2`, context)
  }
  // A second scale beside scales of another dtype is another format (W4A8 AWQ).
  if (scales !== undefined && scales.dtype !== "F8_E4M3") return undefined
  if (scales === undefined) missingPart(codes, "NVFP4 codes without scales", `${module}.weight_scale`, context)
  if (context.tensor(`${module}.svdquant_lora_a`) !== undefined) {
    const line = tensorLine(codes.file.path, codes.name, "NVFP4 with a low-rank part (SVDQuant) is not supported")
    throw new UnsupportedError(line)
  }
  const columnScales = context.tensor(`${module}.pre_quant_scale`)
  const parts = { codes, scales, whole, columnScales }
  return nvfp4Weight({ name: codes.name, scheme: NAME, ...parts, how: "multiply", positiveZero: true })
}
