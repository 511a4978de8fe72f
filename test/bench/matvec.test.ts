/** The bench of products runs on weights of a few kilobytes, so that it still does when it is wanted. */
import { expect, test } from "bun:test"
import { findPython } from "../reference/python.ts"
import { benchMatvec, describeMatvec, describeScaling } from "./matvec.ts"

const shapes = [
  { experts: 1, rows: 48, columns: 64 },
  { experts: 3, rows: 32, columns: 96 },
]

test("the bench of products runs, alone", async () => {
  const results = await benchMatvec({ shapes, threads: [1, 2], rounds: 2, peers: false })
  expect(results.map(({ rows, threads }) => [rows, threads])).toEqual([
    [48, 1],
    [48, 2],
    [32, 1],
    [32, 2],
  ])
  expect(describeScaling(results)).toHaveLength(2)
  for (const result of results) {
    expect(result.readPlain).toBeGreaterThan(1e8)
    const names = result.contenders.map(({ name }) => name).filter((name) => !name.includes(" x86"))
    const dense = result.experts === 1 ? ["dense bf16", "dense f32"] : []
    expect(names).toEqual(["int8", "float", ...dense])
    expect(result.contenders.every(({ medianSeconds, bestSeconds }) => medianSeconds >= bestSeconds)).toBe(true)
    expect(describeMatvec(result).at(-1)).toBe("  no peers: not asked for")
  }
})

const python = findPython("full")
const why = "reason" in python ? ` (${python.reason})` : ""
test.skipIf(why !== "")(
  `the bench of products runs, with its peers${why}`,
  async () => {
    const [result] = await benchMatvec({
      shapes: [{ experts: 2, rows: 64, columns: 128 }],
      threads: [1],
      rounds: 1,
      peers: true,
    })
    const names = result!.contenders.map(({ name }) => name)
    expect(names).toEqual(expect.arrayContaining(["int8", "float", "ggml plain", "torch bf16", "torch expand"]))
    expect(result!.left).toBeUndefined()
  },
  120_000,
)
