/** MLX weights whose parts are missing or do not fit, as in broken-scaled.ts. */
import type { BrokenInput } from "./broken.ts"
import type { Entry, WeightsInput } from "./broken-weights.ts"

const part = (suffix: string, dtype: string, shape: readonly number[]): Entry => [`m.q${suffix}`, dtype, shape]
const CODES = part(".weight", "U32", [16, 8])
const SCALES = part(".scales", "BF16", [16, 1])
const BIASES = part(".biases", "BF16", [16, 1])
const config = (settings: Record<string, unknown>) => ({ quantization: settings })
const FOUR_BITS = config({ bits: 4, group_size: 64 })

export const brokenMlx = (weights: WeightsInput): BrokenInput[] => [
  weights("MLX without biases", 3, /MLX codes without biases .*"m.q.biases"/, [CODES, SCALES], FOUR_BITS),
  weights("MLX without scales", 3, /"m.q.weight": U32 codes without scales/, [CODES], FOUR_BITS),
  weights("MLX with biases of another dtype", 3, /biases have the wrong dtype \(expected BF16, found F16\)/, [
    CODES,
    SCALES,
    part(".biases", "F16", [16, 1]),
  ]),
  weights("MLX with scales of other rows", 3, /MLX scales have the wrong shape .*\[16, 1\], found \[15, 1\]/, [
    CODES,
    part(".scales", "BF16", [15, 1]),
    part(".biases", "BF16", [15, 1]),
  ]),
  weights(
    "MLX in groups that do not divide",
    3,
    /does not have the declared bits and group size .*4 bits in groups of 48, found 8 words for 1 groups/,
    [CODES, SCALES, BIASES],
    config({ bits: 4, group_size: 48 }),
  ),
  weights(
    "MLX with a path of other bits",
    3,
    /does not have the declared bits .*8 bits in groups of 64/,
    [CODES, SCALES, BIASES],
    config({ bits: 4, group_size: 64, "m.q": { bits: 8, group_size: 64 } }),
  ),
  weights("MLX of seven bits", 3, /7 bits in groups of/, [CODES, SCALES, BIASES], config({ bits: 7, group_size: 32 })),
  weights("MLX without a config", 3, /MLX codes whose bits nothing declares/, [CODES, SCALES, BIASES]),
  weights("MLX without values", 3, /without values/, [part(".weight", "U32", [0, 8]), part(".scales", "U8", [0, 2])]),
  weights("MLX mxfp4 in groups of 21", 3, /MLX scales have the wrong shape .*found 3 for 8 words/, [
    CODES,
    part(".scales", "U8", [16, 3]),
  ]),
  weights("MLX nvfp4 with scales of the whole for two matrices", 3, /MLX global_scale/, [
    CODES,
    part(".scales", "U8", [16, 4]),
    part(".global_scale", "F32", [2]),
  ]),
  weights("MLX mxfp4 with a scale of the whole", 4, /scale of the whole in MLX's mxfp4 is not supported/, [
    CODES,
    part(".scales", "U8", [16, 2]),
    part(".global_scale", "F32", []),
  ]),
]
