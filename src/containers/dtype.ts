/** Element types of stored tensors. Source: huggingface/safetensors `Dtype`; ggml's block types are in ggml-type.ts. */
import { blockBytes, type GgmlType, isGgmlType } from "./ggml-type.ts"

/** Bits of one element; FP4 and FP6 are narrower than a byte, and shapes count elements. */
export const DTYPE_BITS = {
  BOOL: 8,
  U8: 8,
  I8: 8,
  I16: 16,
  U16: 16,
  I32: 32,
  U32: 32,
  I64: 64,
  U64: 64,
  F16: 16,
  BF16: 16,
  F32: 32,
  F64: 64,
  C64: 64,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
} as const

/** What a tensor of a safetensors file can be, and so what an output can hold. */
export type SafetensorsDtype = keyof typeof DTYPE_BITS

/** What a stored tensor can be. */
export type Dtype = SafetensorsDtype | GgmlType

/** The dtypes that `convert --to` offers. */
export const DENSE_DTYPES = ["BF16", "F16", "F32"] as const
export type DenseDtype = (typeof DENSE_DTYPES)[number]

export function isSafetensorsDtype(name: string): name is SafetensorsDtype {
  return Object.hasOwn(DTYPE_BITS, name)
}

export function isDenseDtype(name: string): name is DenseDtype {
  return (DENSE_DTYPES as readonly string[]).includes(name)
}

/** Product of the dimensions; undefined where it is not a safe integer. The shape [] has one element. */
export function elementCount(shape: readonly number[]): number | undefined {
  if (shape.includes(0)) return 0
  let count = 1
  for (const dimension of shape) {
    count *= dimension
    if (!Number.isSafeInteger(count)) return undefined
  }
  return count
}

/**
 * Bytes of a tensor; undefined where the count overflows, the bits do not fill whole bytes, or a row of a block type is
 * not a run of whole blocks.
 */
export function tensorBytes(dtype: Dtype, shape: readonly number[]): number | undefined {
  const count = elementCount(shape)
  if (count === undefined) return undefined
  if (isGgmlType(dtype)) return blockBytes(dtype, shape.at(-1) ?? 1, count)
  const bits = count * DTYPE_BITS[dtype]
  return Number.isSafeInteger(bits) && bits % 8 === 0 ? bits / 8 : undefined
}
