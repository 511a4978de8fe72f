/**
 * BitNet, HQQ and AWQ GEMV weights whose parts are missing or do not fit. The list is made by the caller's function, so
 * that this file needs nothing of the one that collects it.
 */
import type { BrokenInput } from "./broken.ts"
import type { Entry, WeightsInput } from "./broken-weights.ts"

const part = (suffix: string, dtype: string, shape: readonly number[]): Entry => [`m.q.${suffix}`, dtype, shape]
const declared = (settings: object) => ({ quantization_config: settings })

const CODES = part("weight", "U8", [8, 64])

const bitnet = (weights: WeightsInput): BrokenInput[] => {
  const broken = (name: string, says: RegExp, entries: readonly Entry[]) =>
    weights(`BitNet ${name}`, 3, says, entries, declared({ quant_method: "bitnet" }))
  return [
    broken("without a scale", /BitNet codes without a scale .*"m.q.weight_scale"/, [CODES]),
    broken("with a scale for each row", /BitNet scales have the wrong shape \(expected one value, found \[32\]\)/, [
      CODES,
      part("weight_scale", "BF16", [32]),
    ]),
    broken("with a scale of integers", /BitNet scales have the wrong dtype/, [CODES, part("weight_scale", "I32", [1])]),
    broken("without values", /BitNet codes have the wrong shape/, [
      part("weight", "U8", [0, 64]),
      part("weight_scale", "BF16", [1]),
    ]),
    broken("in three dimensions", /BitNet codes have the wrong shape/, [
      part("weight", "U8", [2, 8, 64]),
      part("weight_scale", "BF16", [1]),
    ]),
  ]
}

const HQQ = [part("W_q", "U8", [16, 64]), part("scale", "F16", [32, 1]), part("zero", "F16", [32, 1])]

const hqq = (weights: WeightsInput): BrokenInput[] => {
  const broken = (name: string, exitCode: 3 | 4, says: RegExp, entries: readonly Entry[]) =>
    weights(`HQQ ${name}`, exitCode, says, entries, declared({ quant_method: "hqq" }))
  return [
    broken("without scales", 3, /HQQ codes without their scale .*"m.q.scale"/, HQQ.slice(0, 1)),
    broken("without zeros", 3, /HQQ codes without their zero/, HQQ.slice(0, 2)),
    broken("without a shape", 3, /HQQ codes without their shape/, HQQ),
    // The bytes of the numbers are 0x38.
    broken("of 56 bits", 4, /HQQ of 56 bits is not supported/, [
      ...HQQ,
      part("shape", "I64", [2]),
      part("nbits", "U8", []),
      part("axis", "U8", []),
    ]),
    broken("with a width that is a vector", 3, /"m.q.nbits": has the wrong shape/, [
      ...HQQ,
      part("shape", "I64", [2]),
      part("nbits", "U8", [2]),
      part("axis", "U8", []),
    ]),
    broken("with a width that is no number", 3, /"m.q.nbits": numbers about HQQ codes have the wrong dtype/, [
      ...HQQ,
      part("shape", "I64", [2]),
      part("nbits", "BF16", []),
      part("axis", "U8", []),
    ]),
  ]
}

const gemv = (weights: WeightsInput): BrokenInput[] => {
  const broken = (name: string, says: RegExp, entries: readonly Entry[]) =>
    weights(`AWQ GEMV ${name}`, 3, says, entries, declared({ quant_method: "awq", version: "gemv", group_size: 64 }))
  const codes = part("qweight", "I32", [32, 16])
  const zeros = part("qzeros", "I32", [32, 2])
  const scales = part("scales", "F16", [32, 16])
  return [
    broken("without zeros", /AWQ codes without qzeros/, [codes, scales]),
    broken("without scales", /AWQ codes without scales/, [codes, zeros]),
    broken("with groups that do not divide", /AWQ codes have the wrong shape \(expected .* in groups of 64/, [
      part("qweight", "I32", [32, 15]),
      zeros,
      scales,
    ]),
    broken("with zeros of other rows", /AWQ zeros have the wrong shape/, [
      codes,
      part("qzeros", "I32", [31, 2]),
      scales,
    ]),
    broken("with zeros of too few groups", /AWQ zeros have the wrong shape/, [
      part("qweight", "I32", [32, 160]),
      zeros,
      scales,
    ]),
    broken("with scales that are not padded", /AWQ scales have the wrong shape/, [
      codes,
      zeros,
      part("scales", "F16", [32, 2]),
    ]),
  ]
}

export function brokenAffineRows(weights: WeightsInput): BrokenInput[] {
  return [...bitnet(weights), ...hqq(weights), ...gemv(weights)]
}
