/** The conversion bench runs on checkpoints of a few megabytes, so that it still does when it is wanted. */
import { describe, expect, test } from "bun:test"
import { benchConvert, CONVERT_BENCH, describeConvert } from "./convert.ts"
import { CONVERT_CASE_NAMES, CONVERT_CASES } from "./convert-cases.ts"
import { readConvertResults, readmeConvertTable } from "./convert-results.ts"
import { convertTable } from "./convert-table.ts"
import { median } from "./process-run.ts"

describe.each(CONVERT_CASE_NAMES)("%s", (name) => {
  test("the bench runs and measures both sides, and says who is left out", async () => {
    const place = "disk"
    const result = await benchConvert(name, { ...CONVERT_BENCH, place, repeat: 1, peerRepeat: 0, scale: 16 })
    expect(result).toMatchObject({ case: name, place, peers: [], left: [] })
    expect(result.bytesOut).toBeGreaterThan(1e5)
    expect(result.convert.seconds.length).toBe(1)
    for (const { median, cpuMedian, peakRss } of [result.convert, result.copy, result.device!]) {
      expect(median).toBeGreaterThan(0)
      expect(cpuMedian).toBeGreaterThan(0)
      expect(peakRss).toBeGreaterThan(1e6)
    }
    const { layers } = CONVERT_CASES[name]
    expect(result.memory.map((one) => one.layers)).toEqual([layers, layers * 3])
    expect(describeConvert(result)).toHaveLength(5)
  })
})

test("README has the table of the results that were kept", () => {
  expect(readmeConvertTable()).toBe(convertTable(readConvertResults()))
})

test("median", () => {
  expect(median([3, 1, 2])).toBe(2)
  expect(median([4, 1, 2, 3])).toBe(2.5)
})
