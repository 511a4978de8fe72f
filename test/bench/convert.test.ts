/** The conversion bench runs on a checkpoint of a few kilobytes, so that it still does when it is wanted. */
import { expect, test } from "bun:test"
import { benchConvert, describeConvert } from "./convert.ts"
import { median } from "./process-run.ts"

test("the conversion bench runs and measures both sides", async () => {
  const small = { experts: 2, hidden: 64, intermediate: 96, heads: 2, kvHeads: 1, headDim: 8, vocabulary: 9, layers: 1 }
  const options = { namings: ["original", "hf"], repeat: 2, layers: [1, 2], size: small, options: [] } as const
  const results = await benchConvert(options)
  expect(results.map((result) => result.naming)).toEqual(["original", "hf"])
  for (const result of results) {
    expect(result.bytesOut).toBeGreaterThan(2 * 2 * 3 * 64 * 96)
    expect(result.convertSeconds.length).toBe(2)
    expect(result.convertCpuSeconds).toBeGreaterThan(0)
    expect(result.copySeconds.every((seconds) => seconds > 0)).toBe(true)
    expect(result.memory.map(({ layers }) => layers)).toEqual([1, 2])
    expect(result.memory.every(({ peakRss }) => peakRss > 1e6)).toBe(true)
    expect(describeConvert(result)).toHaveLength(6)
  }
})

test("median", () => {
  expect(median([3, 1, 2])).toBe(2)
  expect(median([4, 1, 2, 3])).toBe(2.5)
})
