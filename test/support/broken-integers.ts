/** Integers of compressed-tensors and bitsandbytes whose parts are missing or do not fit, as in broken-scaled.ts. */
import type { BrokenInput } from "./broken.ts"
import type { Entry, WeightsInput } from "./broken-weights.ts"

const part = (suffix: string, dtype: string, shape: readonly number[]): Entry => [`m.q${suffix}`, dtype, shape]

function whole(name: string, dtype: "I64" | "I32", values: readonly number[]): Entry {
  const bytes = dtype === "I64" ? BigInt64Array.from(values, BigInt) : Int32Array.from(values)
  return [name, dtype, [values.length], new Uint8Array(bytes.buffer)]
}

const shapeOf = (...sizes: number[]): Entry => whole("m.q.weight_shape", "I64", sizes)
const config = (num_bits: number) => ({
  quantization_config: {
    quant_method: "compressed-tensors",
    format: "pack-quantized",
    config_groups: { g: { targets: ["re:.*q$"], weights: { num_bits, type: "int" } } },
  },
})

const PACKED = part(".weight_packed", "I32", [16, 8])
const SCALES = part(".weight_scale", "BF16", [16, 2])
const SHAPE = shapeOf(16, 64)
const INT8 = part(".weight", "I8", [16, 64])

const packed = (weights: WeightsInput): BrokenInput[] => [
  weights("packed integers without scales", 3, /packed integers without weight_scale .*"m.q.weight_scale"/, [
    PACKED,
    SHAPE,
  ]),
  weights("packed integers without their shape", 3, /packed integers without weight_shape/, [PACKED, SCALES]),
  weights("packed integers of other rows", 3, /does not agree with the packed codes .*\[16, in\], found \[15, 64\]/, [
    PACKED,
    SCALES,
    shapeOf(15, 64),
  ]),
  weights("packed integers with a shape below zero", 3, /does not agree .*found \[16, -64\]/, [
    PACKED,
    SCALES,
    shapeOf(16, -64),
  ]),
  weights("packed integers of more columns than words", 3, /words of 1 to 8 bits for 640 columns/, [
    PACKED,
    SCALES,
    shapeOf(16, 640),
  ]),
  weights(
    "packed integers of other bits than declared",
    3,
    /packed integers have the wrong shape .*16 words of 8 bits for 64 columns, found \[16, 8\]/,
    [PACKED, SCALES, SHAPE],
    config(8),
  ),
  weights("packed integers with groups that do not divide", 3, /scales have the wrong shape for "m.q.weight_packed"/, [
    PACKED,
    part(".weight_scale", "BF16", [16, 3]),
    SHAPE,
  ]),
  weights("packed integers with scales of integers", 3, /scales have the wrong dtype .*found I32/, [
    PACKED,
    part(".weight_scale", "I32", [16, 2]),
    SHAPE,
  ]),
  weights("packed integers with short zero points", 3, /packed zero points have the wrong shape .*\[2, 2\]/, [
    PACKED,
    SCALES,
    SHAPE,
    part(".weight_zero_point", "I32", [1, 2]),
  ]),
  weights("packed integers with signed zero points of another shape", 3, /zero points have the wrong shape/, [
    PACKED,
    SCALES,
    SHAPE,
    part(".weight_zero_point", "I8", [16, 1]),
  ]),
  weights("packed integers with a group that there is not", 3, /names a group that there is not .*0 to 1, found 2/, [
    PACKED,
    SCALES,
    SHAPE,
    whole(
      "m.q.weight_g_idx",
      "I32",
      Array.from({ length: 64 }, (_, i) => i % 3),
    ),
  ]),
  weights("packed integers with groups of too few columns", 3, /the groups of columns have the wrong shape/, [
    PACKED,
    SCALES,
    SHAPE,
    whole("m.q.weight_g_idx", "I32", [0, 1]),
  ]),
]

const bytes = (weights: WeightsInput): BrokenInput[] => [
  weights("INT8 with a scale too few", 3, /scales have the wrong shape for "m.q.weight"/, [
    INT8,
    part(".weight_scale", "BF16", [15, 1]),
  ]),
  weights("INT8 with F64 scales", 3, /scales have the wrong dtype/, [INT8, part(".weight_scale", "F64", [16, 1])]),
  weights("INT8 with zero points of another shape", 3, /zero points have the wrong shape/, [
    INT8,
    part(".weight_scale", "BF16", [16, 1]),
    part(".weight_zero_point", "I8", [1]),
  ]),
  weights("LLM.int8 with absmax of the wrong length", 3, /the absmax of rows have the wrong shape .*\[16\]/, [
    INT8,
    part(".SCB", "F32", [64]),
  ]),
  weights("LLM.int8 with absmax in F16", 3, /the absmax of rows have the wrong dtype/, [
    INT8,
    part(".SCB", "F16", [16]),
  ]),
  weights("LLM.int8 in three dimensions", 3, /LLM.int8 codes have the wrong shape/, [
    part(".weight", "I8", [2, 8, 64]),
    part(".SCB", "F32", [2]),
  ]),
  weights("LLM.int8 in the order of a GPU", 4, /in the order of a GPU's kernels \(2\)/, [
    INT8,
    part(".SCB", "F32", [16]),
    ["m.q.weight_format", "U8", [], Uint8Array.of(2)],
  ]),
]

export const brokenIntegers = (weights: WeightsInput): BrokenInput[] => [...packed(weights), ...bytes(weights)]
