/**
 * Files that are valid safetensors and hold quantized tensors whose parts are missing, do not fit, or are of no
 * supported format.
 */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type { BrokenInput } from "./broken.ts"
import { brokenAffine } from "./broken-affine.ts"
import { brokenAffineRows } from "./broken-affine-rows.ts"
import { brokenBitsandbytes } from "./broken-bitsandbytes.ts"
import { brokenIntegers } from "./broken-integers.ts"
import { brokenMlx } from "./broken-mlx.ts"
import { brokenScaled } from "./broken-scaled.ts"
import { safetensorsBytes, tensor } from "./checkpoints.ts"

/** Values are made up where `bytes` says nothing. */
export type Entry = readonly [name: string, dtype: string, shape: readonly number[], bytes?: Uint8Array]

const BYTES: Readonly<Record<string, number>> = {
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  U8: 1,
  I8: 1,
  I16: 2,
  F4: 0.5,
  F6_E2M3: 0.75,
}

function bytesOf([name, dtype, shape, given]: Entry, seed: number) {
  if (given !== undefined) return { name, dtype, shape, bytes: given }
  const count = shape.reduce((product, size) => product * size, 1)
  const bytes = BYTES[dtype]
  if (bytes === undefined) return tensor(name, dtype, shape, seed)
  return { name, dtype, shape, bytes: new Uint8Array(count * bytes).fill(0x38) }
}

export function fileOf(...entries: readonly Entry[]): Uint8Array {
  return safetensorsBytes(entries.map(bytesOf))
}

/** A broken input of one file: its exit code, what the error says, its tensors, and the config.json beside it. */
export type WeightsInput = typeof weights

function weights(
  name: string,
  exitCode: 3 | 4,
  says: RegExp,
  entries: readonly Entry[],
  config?: unknown,
): BrokenInput {
  return {
    name,
    exitCode,
    says,
    build: (folder) => {
      const path = join(folder, "model.safetensors")
      writeFileSync(path, fileOf(...entries))
      if (config !== undefined) writeFileSync(join(folder, "config.json"), JSON.stringify(config))
      return path
    },
  }
}

const BLOCKS: Entry = ["m.gate_up_proj_blocks", "U8", [2, 6, 3, 16]]
const SCALES: Entry = ["m.gate_up_proj_scales", "U8", [2, 6, 3]]
const ORIGINAL_BLOCKS: Entry = ["block.0.mlp.mlp1_weight.blocks", "U8", [2, 6, 3, 16]]
const ORIGINAL_SCALES: Entry = ["block.0.mlp.mlp1_weight.scales", "U8", [2, 6, 3]]
const PACKED: Entry = ["m.q.weight_packed", "U8", [8, 32]]
const PACKED_SCALES: Entry = ["m.q.weight_scale", "U8", [8, 2]]

function changed([name]: Entry, dtype: string, shape: readonly number[]): Entry {
  return [name, dtype, shape]
}

const gptOss: readonly BrokenInput[] = [
  weights("codes without scales", 3, /"m.gate_up_proj_blocks": MXFP4 codes without scales/, [BLOCKS]),
  weights("original codes without scales", 3, /MXFP4 codes without scales/, [ORIGINAL_BLOCKS]),
  weights("scales without codes", 3, /"m.gate_up_proj_scales": MXFP4 scales without codes/, [SCALES]),
  weights("original scales without codes", 3, /MXFP4 scales without codes/, [ORIGINAL_SCALES]),
  weights("codes and scales of two namings", 3, /without scales/, [BLOCKS, ["m.gate_up_proj.scales", "U8", [2, 6, 3]]]),
  weights("a group too few", 3, /scales have the wrong shape \(expected \[2, 6, 3\], found \[2, 6, 2\]\)/, [
    BLOCKS,
    changed(SCALES, "U8", [2, 6, 2]),
  ]),
  weights("an expert too many", 3, /scales have the wrong shape/, [BLOCKS, changed(SCALES, "U8", [3, 6, 3])]),
  weights("scales of another rank", 3, /scales have the wrong shape/, [BLOCKS, changed(SCALES, "U8", [36])]),
  weights("ragged last block", 3, /codes have the wrong shape.*found \[2, 6, 3, 15\]/, [
    changed(BLOCKS, "U8", [2, 6, 3, 15]),
    SCALES,
  ]),
  weights("codes of rank 2", 3, /codes have the wrong shape/, [
    changed(BLOCKS, "U8", [36, 16]),
    changed(SCALES, "U8", [36]),
  ]),
  weights("scales in F32", 3, /scales have the wrong dtype \(expected U8 or F8_E8M0, found F32\)/, [
    BLOCKS,
    changed(SCALES, "F32", [2, 6, 3]),
  ]),
  weights("codes in I8", 3, /codes have the wrong dtype \(expected U8, found I8\)/, [
    changed(BLOCKS, "I8", [2, 6, 3, 16]),
    SCALES,
  ]),
  weights("codes in BF16", 3, /codes have the wrong dtype/, [changed(BLOCKS, "BF16", [2, 6, 3, 16]), SCALES]),
  weights("no groups", 3, /without values/, [changed(BLOCKS, "U8", [2, 6, 0, 16]), changed(SCALES, "U8", [2, 6, 0])]),
]

const ct = (settings: Record<string, unknown>) => ({
  quantization_config: { quant_method: "compressed-tensors", format: "mxfp4-pack-quantized", ...settings },
})

const compressedTensors: readonly BrokenInput[] = [
  weights("packed codes without scales", 3, /"m.q.weight_packed": MXFP4 codes without scales/, [PACKED]),
  weights("packed scales without codes", 3, /"m.q.weight_scale": scales without codes/, [PACKED_SCALES]),
  weights(
    "packed, a group too many",
    3,
    /scales have the wrong shape/,
    [PACKED, changed(PACKED_SCALES, "U8", [8, 3])],
    ct({}),
  ),
  weights(
    "packed, ragged last group",
    3,
    /codes have the wrong shape/,
    [changed(PACKED, "U8", [8, 24]), changed(PACKED_SCALES, "U8", [8, 2])],
    ct({}),
  ),
  weights(
    "packed, scales in BF16",
    3,
    /scales have the wrong dtype/,
    [PACKED, changed(PACKED_SCALES, "BF16", [8, 2])],
    ct({}),
  ),
  weights(
    "packed, declared group of 16",
    3,
    /another group size than MXFP4 has \(expected 32, found 16\)/,
    [PACKED, PACKED_SCALES],
    ct({ config_groups: { g: { weights: { group_size: 16 } } } }),
  ),
]

const names: readonly BrokenInput[] = [
  weights("two weights of one name", 3, /gives the dense name "m.gate_up_proj", which is taken/, [
    BLOCKS,
    SCALES,
    ["m.gate_up_proj.blocks", "U8", [2, 6, 3, 16]],
    ["m.gate_up_proj.scales", "U8", [2, 6, 3]],
  ]),
  weights("a weight called like a dense tensor", 3, /gives the dense name "m.q.weight", which is taken/, [
    PACKED,
    PACKED_SCALES,
    ["m.q.weight", "BF16", [8, 64]],
  ]),
  weights("a weight called __metadata__", 3, /name that is not possible/, [
    ["__metadata___blocks", "U8", [1, 1, 1, 16]],
    ["__metadata___scales", "U8", [1, 1, 1]],
  ]),
  weights("loose int8 matrix", 3, /I8 codes without scales/, [["m.q.weight", "I8", [8, 8]]]),
  weights("loose E8M0 tensor", 3, /E8M0 scales without codes/, [["m.q.s", "F8_E8M0", [8, 8]]]),
  weights("loose scales", 3, /part of a quantized weight without its codes/, [["m.q.weight_scale_inv", "F32", [1, 1]]]),
]

const unsupported = (title: string, says: RegExp, ...entries: readonly Entry[]) =>
  weights(`unsupported ${title}`, 4, says, entries)

const W = (dtype: string, shape: readonly number[] = [64, 64]): Entry => ["m.q.weight", dtype, shape]
const part = (suffix: string, dtype: string, shape: readonly number[]): Entry => [`m.q${suffix}`, dtype, shape]

const known: readonly BrokenInput[] = [
  unsupported("int8", /"m.q.weight": int8 is not supported/, W("I8"), part(".weight_scale_inv", "BF16", [64, 1])),
  unsupported(
    "AWQ GEMV-fast",
    /AWQ in the layout of the gemv_fast kernel is not supported/,
    part(".qweight", "I16", [16, 64]),
    part(".qzeros", "F16", [8, 64]),
    part(".scales", "F16", [8, 64]),
  ),
  unsupported(
    "shapes of neither GPTQ nor AWQ",
    /this packing of GPTQ or AWQ is not supported/,
    part(".qweight", "I32", [64, 9]),
    part(".scales", "F16", [1, 64]),
  ),
  unsupported("BitNet", /undeclared BitNet is not supported/, W("U8", [16, 64]), part(".weight_scale", "BF16", [1])),
  ...[
    unsupported("EXL2", /EXL2 is not supported/, part(".q_weight", "I32", [24, 64]), part(".q_scale", "I32", [2, 8])),
    unsupported(
      "VPTQ",
      /VPTQ is not supported/,
      part(".indices", "I16", [1, 8]),
      part(".centroids.weight", "F16", [1, 64]),
    ),
    unsupported("QuIP#", /QuIP# is not supported/, part(".Qidxs", "I64", [64, 8]), part(".SU", "F16", [64])),
    unsupported(
      "SpQR",
      /SpQR is not supported/,
      part(".dense_weights", "I64", [64]),
      part(".row_offsets", "I32", [65]),
    ),
    unsupported("Marlin", /Marlin is not supported/, part(".B", "I32", [4, 128]), part(".s", "F16", [1, 64])),
    unsupported("QQQ", /QQQ is not supported/, part(".B", "I32", [4, 128]), part(".s_channel", "F32", [1, 64])),
    unsupported("torchao", /torchao is not supported/, part("._weight_qdata", "I8", [64, 64])),
    unsupported(
      "Quanto",
      /Quanto is not supported/,
      part(".weight._data", "I8", [64, 64]),
      part(".weight._scale", "F16", [64, 1]),
    ),
    unsupported("EETQ", /EETQ is not supported/, W("I8"), part(".weight_scales", "F16", [64])),
    unsupported(
      "2:4",
      /sparse weights \(2:4\) is not/,
      part(".compressed", "BF16", [64, 32]),
      part(".bitmask", "U8", [64, 8]),
    ),
    unsupported(
      "marlin-24",
      /sparse Marlin weights \(marlin-24\) is not supported/,
      part(".weight_packed", "I32", [2, 128]),
      part(".scale_packed", "F16", [1, 64]),
      part(".meta", "I16", [64, 2]),
    ),
    unsupported(
      "HIGGS",
      /HIGGS is not supported/,
      W("I16"),
      part(".scales", "F16", [64]),
      part(".tables2", "F16", [256]),
    ),
    unsupported(
      "FP-Quant",
      /FP-Quant is not supported/,
      part(".qweight", "U8", [64, 32]),
      part(".scales", "U8", [64, 2]),
    ),
    weights(
      "HQQ's codes of another method",
      4,
      /this packing of HQQ is not supported/,
      [part(".W_q", "U8", [32, 64])],
      {
        quantization_config: { quant_method: "sinq" },
      },
    ),
  ],
  unsupported("EXL3", /EXL3 is not supported/, part(".trellis", "I16", [4, 4, 48])),
  unsupported(
    "AQLM",
    /AQLM is not supported/,
    part(".codes", "I8", [8, 8, 1]),
    part(".codebooks", "F16", [1, 256, 1, 8]),
  ),
  unsupported("pre_quant_scale", /pre_quant_scale/, PACKED, PACKED_SCALES, part(".pre_quant_scale", "BF16", [64])),
  unsupported(
    "zero points of MXFP4",
    /zero points is not/,
    PACKED,
    PACKED_SCALES,
    part(".weight_zero_point", "U8", [8, 2]),
  ),
  unsupported("activation order", /activation order/, PACKED, PACKED_SCALES, part(".weight_g_idx", "I32", [64])),
  unsupported("F6", /FP6 is not supported/, W("F6_E2M3")),
  unsupported("F4", /FP4 is not supported/, W("F4")),
  weights(
    "unknown declared method",
    4,
    /"x.codes2": may be quantized as config.json: quantization_config declares: "newq"/,
    [["x.codes2", "I32", [4, 4]]],
    {
      quantization_config: { quant_method: "newq" },
    },
  ),
  weights(
    "declared format of compressed-tensors",
    4,
    /this packed format of compressed-tensors is not supported/,
    [PACKED, PACKED_SCALES],
    {
      quantization_config: { quant_method: "compressed-tensors", format: "nvfp4-pack-quantized" },
    },
  ),
]

export const brokenWeights: readonly BrokenInput[] = [
  ...gptOss,
  ...compressedTensors,
  ...brokenScaled(weights),
  ...brokenBitsandbytes(weights),
  ...brokenAffine(weights),
  ...brokenIntegers(weights),
  ...brokenMlx(weights),
  ...brokenAffineRows(weights),
  ...names,
  ...known,
].map((input) => ({
  ...input,
  name: `weights: ${input.name}`,
}))
