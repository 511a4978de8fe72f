/**
 * The orders of tensors in output files. Both depend on names and dtypes alone, never on where the input keeps them.
 */
import type { SafetensorsDtype } from "../containers/dtype.ts"

/**
 * Dtypes in the order in which the reference writer (huggingface/safetensors 0.8.0, `serialize`) lays tensors out: by
 * falling alignment, then as its `Dtype` is declared. An output file has the byte layout that `save_file` would give
 * it, and each tensor is aligned to its elements, because only wider ones come before it.
 */
const DTYPE_ORDER = [
  "U64",
  "I64",
  "F64",
  "C64",
  "F32",
  "U32",
  "I32",
  "BF16",
  "F16",
  "U16",
  "I16",
  "F8_E5M2FNUZ",
  "F8_E4M3FNUZ",
  "F8_E8M0",
  "F8_E4M3",
  "F8_E5M2",
  "I8",
  "U8",
  "F6_E3M2",
  "F6_E2M3",
  "F4",
  "BOOL",
] as const satisfies readonly SafetensorsDtype[]

const RANK: ReadonlyMap<SafetensorsDtype, number> = new Map(DTYPE_ORDER.map((dtype, rank) => [dtype, rank]))

interface Named {
  readonly name: string
  readonly dtype: SafetensorsDtype
}

/** In the order within a file: dtype, then the bytes of the name in UTF-8. */
export function sortInFile<T extends Named>(tensors: readonly T[]): T[] {
  const compareNames = tensors.some(({ name }) => BEYOND_PLAIN.test(name)) ? compareUtf8 : compareUnits
  return tensors.toSorted((a, b) => {
    const order = a.dtype === b.dtype ? 0 : RANK.get(a.dtype)! - RANK.get(b.dtype)!
    return order === 0 ? compareNames(a.name, b.name) : order
  })
}

/** Surrogates and what lies beyond them: without these the order of UTF-16 units is that of code points. */
const BEYOND_PLAIN = /[\ud800-\uffff]/

function compareUnits(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

/** Names as UTF-8 bytes compare, which is by code point. */
export function compareUtf8(a: string, b: string): number {
  if (a === b) return 0
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i += 1) {
    const [unitA, unitB] = [a.charCodeAt(i), b.charCodeAt(i)]
    if (unitA !== unitB) return codePointRank(unitA) - codePointRank(unitB)
  }
  return a.length - b.length
}

/**
 * Names in that order; the array is the caller's. Where no name has a surrogate or what lies beyond them, the engine's own
 * order of UTF-16 units is the same, and many times faster.
 */
export function sortUtf8(names: string[]): string[] {
  return names.some((name) => BEYOND_PLAIN.test(name)) ? names.sort(compareUtf8) : names.sort()
}

/** In UTF-16 the surrogates, which stand for the largest code points, come before U+E000. */
function codePointRank(unit: number): number {
  if (unit >= 0xe000) return unit - 0x800
  return unit >= 0xd800 ? unit + 0x2000 : unit
}

/** Numbers within names by their value: layer 2 comes before layer 10, and the tensors of a layer stay together. */
export function compareNatural(a: string, b: string): number {
  return compareParts(partsOf(a), partsOf(b)) || compareUtf8(a, b)
}

/** Sorts by `compareNatural`, taking each name apart once. */
export function sortNaturally<T extends { readonly name: string }>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, parts: partsOf(item.name) }))
    .sort((a, b) => compareParts(a.parts, b.parts) || compareUtf8(a.item.name, b.item.name))
    .map(({ item }) => item)
}

function partsOf(name: string): string[] {
  return name.split(/([0-9]+)/)
}

/** Text and digits by turns. */
function compareParts(a: readonly string[], b: readonly string[]): number {
  const count = Math.min(a.length, b.length)
  for (let i = 0; i < count; i += 1) {
    const order = i % 2 === 1 ? compareNumbers(a[i]!, b[i]!) : compareUtf8(a[i]!, b[i]!)
    if (order !== 0) return order
  }
  return a.length - b.length
}

/** Digits of any length, by value. */
function compareNumbers(a: string, b: string): number {
  const digitsA = a.replace(/^0+(?=.)/, "")
  const digitsB = b.replace(/^0+(?=.)/, "")
  return digitsA.length - digitsB.length || compareUtf8(digitsA, digitsB)
}
