/** The bench of sizes runs on a model of a few megabytes, in parts too, so that it still does when it is wanted. */
import { expect, test } from "bun:test"
import { GPT_OSS_20B } from "../fixtures/gpt-oss-tensors.ts"
import { benchScale, describeScale, SCALE_BENCH } from "./scale.ts"
import { readmeScaleTable, readScaleResults, scaleTable } from "./scale-results.ts"

test("the bench runs, and measures sizes, threads and a plan", async () => {
  const size = { ...GPT_OSS_20B, experts: 2, hidden: 96, intermediate: 96, heads: 2, kvHeads: 1, vocabulary: 256 }
  const small = { place: "disk", layers: [1, 3], size, outputMax: 3e5, repeat: 1, threads: [1, 2] } as const
  const result = await benchScale({ ...SCALE_BENCH, ...small, plan: { tensors: 40, shards: 4 } })
  const [one, three] = result.points
  expect(three!.bytesIn).toBeGreaterThan(2 * one!.bytesIn)
  expect(three!.parts).toBeGreaterThan(one!.parts)
  for (const { seconds, secondsPerGigabyte, peakRss, bytesIn, bytesOut } of result.points) {
    expect(bytesOut).toBeGreaterThan(bytesIn)
    expect(seconds).toBeGreaterThan(0)
    expect(secondsPerGigabyte).toBeCloseTo(seconds / ((bytesIn + bytesOut) / 1e9), 6)
    expect(peakRss).toBeGreaterThan(1e6)
  }
  expect(result.threads.map(({ threads }) => threads)).toEqual([1, 2])
  expect(result.plan).toMatchObject({ tensors: 40, shards: 4 })
  expect(describeScale(result)).toHaveLength(5)
}, 120_000)

test("README has the table of the results that were kept", () => {
  expect(readmeScaleTable()).toBe(scaleTable(readScaleResults()))
})
