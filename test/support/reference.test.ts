/**
 * The reference decoder against numbers that are known otherwise: published examples, and the machine's own rounding.
 */
import { describe, expect, test } from "bun:test"
import { randomWords } from "./checkpoints.ts"
import { bitsOf, decodeMxfp4, elementBits, numberOf, transpose } from "./reference.ts"

function block(byte: number, exponent: number, roundedScale = false): number[] {
  return decodeMxfp4(new Uint8Array(16).fill(byte), new Uint8Array([exponent]), roundedScale).slice(0, 2)
}

test("MXFP4 examples", () => {
  expect(block(0x21, 0x7f)).toEqual([0.5, 1])
  expect(block(0x21, 0x80)).toEqual([1, 2])
  expect(block(0xf9, 0x7e)).toEqual([-0.25, -3])
  expect(block(0x81, 0)).toEqual([2 ** -128, -0])
  expect(block(0x80, 255)).toEqual([0, -0])
  expect(block(0xf1, 255)).toEqual([2 ** 127, Number.NEGATIVE_INFINITY])
  expect(block(0x70, 255, true)).toEqual([Number.NaN, Number.POSITIVE_INFINITY])
  expect(block(0xf6, 254)).toEqual([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
})

test("transposition", () => {
  expect(transpose([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], 2, 3)).toEqual([1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12])
})

describe("rounding", () => {
  test.each([
    [1, "BF16", 0x3f80],
    [-0, "BF16", 0x8000],
    [2 ** -133, "BF16", 0x0001],
    [2 ** -134, "BF16", 0x0000],
    [3 * 2 ** -134, "BF16", 0x0002],
    [6 * 2 ** 126, "BF16", 0x7f80],
    [1 + 2 ** -8, "BF16", 0x3f80],
    [1 + 3 * 2 ** -8, "BF16", 0x3f82],
    [65504, "F16", 0x7bff],
    [65519.996, "F16", 0x7bff],
    [65520, "F16", 0x7c00],
    [2 ** -24, "F16", 0x0001],
    [2 ** -25, "F16", 0x0000],
    [3 * 2 ** -25, "F16", 0x0002],
    [2 ** -149, "F32", 0x00000001],
    [Number.NEGATIVE_INFINITY, "F16", 0xfc00],
  ] as const)("%p in %s", (value, dtype, bits) => {
    expect(bitsOf(value, dtype)).toBe(bits)
  })

  test("agrees with the machine's own singles and halves", () => {
    const next = randomWords(7)
    const single = new Float32Array(1)
    const half = new Float16Array(1)
    for (let i = 0; i < 20_000; i += 1) {
      new Uint32Array(single.buffer)[0] = next()
      const value = single[0]!
      if (Number.isNaN(value)) continue
      expect(bitsOf(value, "F32")).toBe(new Uint32Array(single.buffer)[0]!)
      // Within the range of halves and a little beyond both of its ends.
      const narrow = Math.sign(value) * (1 + (next() % 2 ** 20) / 2 ** 20) * 2 ** ((next() % 46) - 28)
      half[0] = narrow
      const bits = new Uint16Array(half.buffer)[0]!
      expect(bitsOf(narrow, "F16")).toBe(bits)
      expect(numberOf(bits, "F16")).toBe(half[0])
    }
  })
})

test("elements are little-endian", () => {
  expect(elementBits(new Uint8Array([0x80, 0x3f, 0, 0xff]), "BF16")).toEqual([0x3f80, 0xff00])
  expect(elementBits(new Uint8Array([1, 2, 3, 4]), "F32")).toEqual([0x04030201])
})
