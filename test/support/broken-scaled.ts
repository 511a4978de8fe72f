/**
 * FP8, NVFP4 and MX weights whose parts are missing or do not fit. The list is made by the caller's function, so that
 * this file needs nothing of the one that collects it.
 */
import type { BrokenInput } from "./broken.ts"
import type { Entry, WeightsInput } from "./broken-weights.ts"

const part = (suffix: string, dtype: string, shape: readonly number[]): Entry => [`m.q${suffix}`, dtype, shape]
const FP8 = part(".weight", "F8_E4M3", [64, 96])
const NVFP4 = part(".weight", "U8", [64, 32])
const NVFP4_SCALES = part(".weight_scale", "F8_E4M3", [64, 4])
const NVFP4_PACKED = part(".weight_packed", "U8", [64, 32])
const GLOBAL = part(".weight_global_scale", "F32", [1])

const fp8 = (weights: WeightsInput): BrokenInput[] => [
  weights("FP8 without scales", 3, /"m.q.weight": FP8 codes without scales/, [FP8]),
  weights("FP8 scales without codes", 3, /part of a quantized weight without its codes/, [
    part(".weight_scale_inv", "F32", [1, 1]),
  ]),
  weights("FP8 with scales of integers", 3, /"m.q.weight_scale": scales have the wrong dtype .* found I32/, [
    FP8,
    part(".weight_scale", "I32", [64, 1]),
  ]),
  weights("FP8 with a row of scales too few", 3, /scales have the wrong shape for "m.q.weight" .* found \[63, 1\]/, [
    FP8,
    part(".weight_scale", "F32", [63, 1]),
  ]),
  weights("FP8 with a vector of the wrong length", 3, /scales have the wrong shape/, [
    FP8,
    part(".weight_scale", "F32", [95]),
  ]),
  weights(
    "FP8 with fewer blocks than the config declares",
    3,
    /scales have the wrong shape .*\(expected \[4, 3\] for blocks of 16 × 32, .*, found \[3, 5\]\)/,
    [FP8, part(".weight_scale_inv", "F32", [3, 5])],
    { quantization_config: { quant_method: "fp8", weight_block_size: [16, 32] } },
  ),
  weights("FP8 experts with scales of other experts", 3, /expected the dimensions \[4\] first/, [
    ["m.experts.up_proj", "F8_E4M3", [4, 64, 96]],
    ["m.experts.up_proj_scale_inv", "F32", [5, 1, 1]],
  ]),
  weights("FP8 without values", 3, /without values/, [
    part(".weight", "F8_E4M3", [0, 96]),
    part(".weight_scale", "F32", [1]),
  ]),
  weights(
    "FP8 with zero points",
    3,
    /zero points beside FP8 codes/,
    [FP8, part(".weight_scale", "BF16", [64, 1]), part(".weight_zero_point", "I8", [64, 1])],
    { quantization_config: { quant_method: "compressed-tensors", format: "float-quantized" } },
  ),
]

const fp4 = (weights: WeightsInput): BrokenInput[] => [
  weights("NVFP4 without the scale of the whole", 3, /without the scale of the whole .*"m.q.weight_scale_2"/, [
    NVFP4,
    NVFP4_SCALES,
  ]),
  weights("NVFP4 without scales", 3, /NVFP4 codes without scales/, [NVFP4, part(".weight_scale_2", "F32", [])]),
  weights("packed NVFP4 without the scale of the whole", 3, /without the scale of the whole/, [
    NVFP4_PACKED,
    NVFP4_SCALES,
  ]),
  weights("packed NVFP4 without scales", 3, /NVFP4 codes without scales/, [NVFP4_PACKED, GLOBAL]),
  weights("packed NVFP4 with U8 scales", 3, /NVFP4 scales have the wrong dtype \(expected F8_E4M3, found U8\)/, [
    NVFP4_PACKED,
    part(".weight_scale", "U8", [64, 2]),
    GLOBAL,
  ]),
  weights("NVFP4 with a group too many", 3, /NVFP4 scales have the wrong shape \(expected \[64, 4\]/, [
    NVFP4_PACKED,
    part(".weight_scale", "F8_E4M3", [64, 5]),
    GLOBAL,
  ]),
  weights("NVFP4 with a ragged last group", 3, /NVFP4 codes have the wrong shape/, [
    part(".weight_packed", "U8", [64, 30]),
    NVFP4_SCALES,
    GLOBAL,
  ]),
  weights("NVFP4 with two scales of the whole", 3, /scale of the whole has the wrong shape .*found \[2\]/, [
    NVFP4,
    NVFP4_SCALES,
    part(".weight_scale_2", "F32", [2]),
  ]),
  weights("NVFP4 with a short pre_quant_scale", 3, /scales of columns have the wrong shape/, [
    NVFP4,
    NVFP4_SCALES,
    part(".weight_scale_2", "F32", []),
    part(".pre_quant_scale", "BF16", [63]),
  ]),
  weights("NVFP4 with a low-rank part", 4, /SVDQuant\) is not supported/, [
    NVFP4,
    NVFP4_SCALES,
    part(".weight_scale_2", "F32", []),
    part(".svdquant_lora_a", "BF16", [8, 64]),
  ]),
]

const EXPERTS: Entry = ["m.experts.up_proj", "U8", [2, 16, 24]]
const EXPERT_SCALES: Entry = ["m.experts.up_proj_weight_scale", "F8_E4M3", [2, 2, 24]]

const pairs = (weights: WeightsInput): BrokenInput[] => [
  weights("INT4 AWQ with groups that do not divide", 3, /INT4 scales have the wrong shape .*divides 96/, [
    part(".weight", "U8", [8, 96]),
    part(".weight_scale", "BF16", [16, 5]),
  ]),
  weights("INT4 AWQ under a second quantization", 4, /W4A8_AWQ\) is not supported/, [
    part(".weight", "U8", [8, 96]),
    part(".weight_scale", "F32", [16, 3]),
    part(".weight_scale_2", "F32", []),
  ]),
  weights("NVFP4 experts without the scale of the whole", 3, /without the scale of the whole/, [
    EXPERTS,
    EXPERT_SCALES,
  ]),
  weights("NVFP4 experts with scales of other rows", 3, /NVFP4 scales have the wrong shape .*\[2, 2, 24\]/, [
    EXPERTS,
    ["m.experts.up_proj_weight_scale", "F8_E4M3", [2, 16, 3]],
    ["m.experts.up_proj_weight_scale_2", "F32", []],
  ]),
  weights("NVFP4 experts' scales without codes", 3, /part of a quantized weight without its codes/, [EXPERT_SCALES]),
]

const mx = (weights: WeightsInput): BrokenInput[] => [
  weights("DeepSeek-V4 experts with a group too few", 3, /MXFP4 scales have the wrong shape/, [
    part(".weight", "I8", [64, 32]),
    part(".scale", "F8_E8M0", [64, 1]),
  ]),
  weights("Quark MXFP4 with a ragged group", 3, /MXFP4 codes have the wrong shape/, [
    part(".weight", "U8", [64, 24]),
    part(".weight_scale", "U8", [64, 2]),
  ]),
  weights("Quark MXFP6", 4, /MXFP6 \(Quark\) is not supported/, [
    part(".weight", "U8", [64, 48]),
    part(".weight_scale", "U8", [64, 2]),
  ]),
  weights("MXFP6 with a row of scales too few", 3, /MXFP6 scales have the wrong shape/, [
    part(".weight_packed", "U8", [64, 48]),
    part(".weight_scale", "U8", [63, 2]),
  ]),
]

export function brokenScaled(weights: WeightsInput): BrokenInput[] {
  return [...fp8(weights), ...fp4(weights), ...pairs(weights), ...mx(weights)]
}
