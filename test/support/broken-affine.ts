/**
 * GPTQ and AWQ weights whose parts are missing, do not fit, or are of a form that is not supported. The list is made by
 * the caller's function, so that this file needs nothing of the one that collects it.
 */
import type { BrokenInput } from "./broken.ts"
import type { Entry, WeightsInput } from "./broken-weights.ts"

const part = (suffix: string, dtype: string, shape: readonly number[]): Entry => [`m.q.${suffix}`, dtype, shape]
/** 4 bits, 64 inputs in two groups, 32 outputs. */
const CODES = part("qweight", "I32", [8, 32])
const ZEROS = part("qzeros", "I32", [2, 4])
const SCALES = part("scales", "F16", [2, 32])
const ORDER = part("g_idx", "I32", [64])

const declared = (settings: object) => ({ quantization_config: settings })
const GPTQ = declared({ quant_method: "gptq", bits: 4, group_size: 32, checkpoint_format: "gptq", sym: true })

const gptq = (weights: WeightsInput): BrokenInput[] => {
  const broken = (name: string, says: RegExp, entries: readonly Entry[], config: unknown = GPTQ) =>
    weights(`GPTQ ${name}`, 3, says, entries, config)
  const unsupported = (name: string, says: RegExp, entries: readonly Entry[], settings: object = {}) =>
    weights(`GPTQ ${name}`, 4, says, entries, declared({ quant_method: "gptq", bits: 4, ...settings }))
  return [
    broken("without scales", /"m.q.qweight": GPTQ codes without scales .*"m.q.scales"/, [CODES, ZEROS, ORDER]),
    broken("without zeros", /GPTQ codes without zeros .*"m.q.qzeros"/, [CODES, SCALES, ORDER], {
      quantization_config: { quant_method: "gptq", bits: 4, sym: false },
    }),
    broken("zeros without codes", /"m.q.qzeros": part of a quantized weight without its codes/, [ZEROS]),
    broken("groups of rows without codes", /"m.q.g_idx": part of a quantized weight without its codes/, [ORDER]),
    broken("with scales of fewer outputs", /scales have the wrong shape for "m.q.qweight" .*\[2, 31\]/, [
      CODES,
      ZEROS,
      part("scales", "F16", [2, 31]),
      ORDER,
    ]),
    broken("with zeros of another width", /GPTQ codes fit no width/, [
      CODES,
      part("qzeros", "I32", [2, 8]),
      SCALES,
      ORDER,
    ]),
    broken("with fewer groups of zeros", /GPTQ zeros have the wrong shape \(expected \[2, 4\], found \[1, 4\]\)/, [
      CODES,
      part("qzeros", "I32", [1, 4]),
      SCALES,
      ORDER,
    ]),
    broken("with g_idx of more inputs", /GPTQ codes fit no width/, [CODES, ZEROS, SCALES, part("g_idx", "I32", [72])]),
    broken("with g_idx of another dtype", /"m.q.g_idx": groups of rows have the wrong dtype/, [
      CODES,
      ZEROS,
      SCALES,
      part("g_idx", "BF16", [64]),
    ]),
    broken("with scales of integers", /"m.q.scales": scales have the wrong dtype/, [
      CODES,
      ZEROS,
      part("scales", "I32", [2, 32]),
      ORDER,
    ]),
    broken("with groups that do not divide", /"m.q.scales": scales have the wrong shape \(expected 2 groups/, [
      CODES,
      part("qzeros", "I32", [3, 4]),
      part("scales", "F16", [3, 32]),
    ]),
    broken("without values", /without values/, [
      part("qweight", "I32", [0, 32]),
      part("qzeros", "I32", [0, 4]),
      part("scales", "F16", [0, 32]),
      part("g_idx", "I32", [0]),
    ]),
    broken(
      "of a width that nothing tells",
      /nothing tells of how many bits GPTQ codes are .*expected "bits" in the config/,
      [CODES, SCALES],
      declared({ quant_method: "gptq", sym: true }),
    ),
    weights("GPTQ without a config", 3, /nothing declares which format of GPTQ this is/, [CODES, ZEROS, SCALES, ORDER]),
    unsupported("for Marlin", /GPTQ in the format "marlin" is not supported/, [CODES, SCALES], {
      checkpoint_format: "marlin",
    }),
    unsupported("for Marlin by its flag", /GPTQ in the format "marlin"/, [CODES, SCALES], { is_marlin_format: true }),
    unsupported("in words of 64 bits", /GPTQ in words of I64 is not supported/, [
      part("qweight", "I64", [4, 32]),
      ZEROS,
      SCALES,
    ]),
  ]
}

const AWQ_CODES = part("qweight", "I32", [64, 4])

const awq = (weights: WeightsInput): BrokenInput[] => {
  const broken = (name: string, says: RegExp, entries: readonly Entry[], settings: object = {}) =>
    weights(`AWQ ${name}`, 3, says, entries, declared({ quant_method: "awq", bits: 4, group_size: 32, ...settings }))
  const unsupported = (name: string, says: RegExp, entries: readonly Entry[], settings: object) =>
    weights(`AWQ ${name}`, 4, says, entries, declared({ quant_method: "awq", bits: 4, ...settings }))
  return [
    broken("without scales", /AWQ codes without scales/, [AWQ_CODES, ZEROS]),
    broken("without zeros", /AWQ codes without zeros .*"m.q.qzeros"/, [AWQ_CODES, SCALES], { zero_point: true }),
    broken("with scales of other outputs", /AWQ scales have the wrong shape \(expected \[2, 32\]/, [
      AWQ_CODES,
      ZEROS,
      part("scales", "F16", [2, 40]),
    ]),
    broken("with fewer groups of zeros", /AWQ zeros have the wrong shape \(expected \[2, 4\]/, [
      AWQ_CODES,
      part("qzeros", "I32", [1, 4]),
      SCALES,
    ]),
    broken("with groups that do not divide", /scales have the wrong shape .*found \[5, 32\]/, [
      AWQ_CODES,
      part("qzeros", "I32", [5, 4]),
      part("scales", "F16", [5, 32]),
    ]),
    broken("with codes in three dimensions", /AWQ codes have the wrong shape/, [
      part("qweight", "I32", [2, 64, 4]),
      ZEROS,
      SCALES,
    ]),
    unsupported("of 8 bits", /AWQ of 8 bits in words of I32 is not supported/, [AWQ_CODES, ZEROS, SCALES], { bits: 8 }),
    unsupported(
      "for gemv_fast",
      /AWQ in the layout of the "gemv_fast" kernel is not supported/,
      [part("qweight", "I16", [8, 64]), part("qzeros", "F16", [8, 32]), part("scales", "F16", [8, 32])],
      { version: "gemv_fast" },
    ),
  ]
}

export function brokenAffine(weights: WeightsInput): BrokenInput[] {
  return [...gptq(weights), ...awq(weights)]
}
