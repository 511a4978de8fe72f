/** Weights of bitsandbytes whose parts are missing or do not fit, as broken-scaled.ts has those of other formats. */
import type { BrokenInput } from "./broken.ts"
import type { Entry, WeightsInput } from "./broken-weights.ts"

const part = (suffix: string, dtype: string, shape: readonly number[]): Entry => [`m.q.weight${suffix}`, dtype, shape]
const STATE = "m.q.weight.quant_state.bitsandbytes__nf4"

function text(value: string): Entry {
  const bytes = new TextEncoder().encode(value)
  return [STATE, "U8", [bytes.length], bytes]
}

const PLAIN = { quant_type: "nf4", blocksize: 64, dtype: "bfloat16", shape: [64, 64] }
const NESTED = { ...PLAIN, nested_blocksize: 16, nested_dtype: "float32", nested_offset: 0.5 }
const state = (change: Record<string, unknown> = {}) => text(JSON.stringify({ ...PLAIN, ...change }))
const nested = (change: Record<string, unknown> = {}) => text(JSON.stringify({ ...NESTED, ...change }))

const CODES = part("", "U8", [2048, 1])
const ABSMAX = part(".absmax", "F32", [64])
const ABSMAX_U8 = part(".absmax", "U8", [64])
const SCALES = part(".nested_absmax", "F32", [4])
const MAP = part(".nested_quant_map", "F32", [256])

export const brokenBitsandbytes = (weights: WeightsInput): BrokenInput[] => [
  weights("NF4 without its state", 3, /4-bit codes without their state .*quant_state.bitsandbytes__nf4"/, [
    CODES,
    ABSMAX,
  ]),
  weights("NF4 without absmax", 3, /4-bit codes without absmax .*expected tensor "m.q.weight.absmax"/, [
    CODES,
    state(),
  ]),
  weights("absmax without codes", 3, /"m.q.weight.absmax": part of a quantized weight without its codes/, [ABSMAX]),
  weights("NF4 with a state that is cut off", 3, /quant_state.bitsandbytes__nf4: .*\(at character/, [
    CODES,
    ABSMAX,
    text('{"quant_type": "nf4", "blocksi'),
  ]),
  weights("NF4 with a state that is no text", 3, /not valid UTF-8/, [
    CODES,
    ABSMAX,
    [STATE, "U8", [3], Uint8Array.of(0xff, 0xfe, 0x00)],
  ]),
  weights("NF4 with the state of FP4", 3, /quant_type of the 4-bit state .*found "fp4"/, [
    CODES,
    ABSMAX,
    state({ quant_type: "fp4" }),
  ]),
  weights("NF4 in blocks of 65", 3, /blocksize of the 4-bit state is not possible .*found 65/, [
    CODES,
    ABSMAX,
    state({ blocksize: 65 }),
  ]),
  weights("NF4 without a shape", 3, /shape of the 4-bit state is not possible .*found null/, [
    CODES,
    ABSMAX,
    state({ shape: null }),
  ]),
  weights("NF4 with a shape that overflows", 3, /shape of the 4-bit state/, [
    CODES,
    ABSMAX,
    state({ shape: [2 ** 40, 2 ** 40] }),
  ]),
  weights("NF4 of int8", 3, /dtype of the 4-bit state .*found "int8"/, [CODES, ABSMAX, state({ dtype: "int8" })]),
  weights("NF4 with too few codes", 3, /"m.q.weight": 4-bit codes have the wrong size .*2080 bytes.*found 2048/, [
    CODES,
    ABSMAX,
    state({ shape: [65, 64] }),
  ]),
  weights("NF4 with absmax of the wrong length", 3, /absmax has the wrong length \(expected 64 for .*found \[63\]/, [
    CODES,
    part(".absmax", "F32", [63]),
    state(),
  ]),
  weights("NF4 with absmax in BF16", 3, /absmax have the wrong dtype/, [CODES, part(".absmax", "BF16", [64]), state()]),
  weights("nested NF4 without its map", 3, /absmax of U8 without what its codes mean .*nested_quant_map"/, [
    CODES,
    ABSMAX_U8,
    SCALES,
    nested(),
  ]),
  weights("nested NF4 with a plain state", 3, /says nothing of the U8 absmax/, [
    CODES,
    ABSMAX_U8,
    SCALES,
    MAP,
    state(),
  ]),
  weights("nested NF4 with a scale too few", 3, /scales of absmax have the wrong shape .*\[4\], found \[3\]/, [
    CODES,
    ABSMAX_U8,
    part(".nested_absmax", "F32", [3]),
    MAP,
    nested(),
  ]),
  weights("nested NF4 with a short map", 3, /the map of absmax have the wrong shape/, [
    CODES,
    ABSMAX_U8,
    SCALES,
    part(".nested_quant_map", "F32", [16]),
    nested(),
  ]),
  weights("nested NF4 with an infinite offset", 3, /nested_offset of the 4-bit state/, [
    CODES,
    ABSMAX_U8,
    SCALES,
    MAP,
    nested({ nested_offset: 1e300 }),
  ]),
]
