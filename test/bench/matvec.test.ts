/** The bench of products runs on weights of a few kilobytes, so that it still does when it is wanted. */
import { expect, test } from "bun:test"
import { findPython } from "../reference/python.ts"
import { benchMatvec } from "./matvec.ts"
import { describeMatvec, describeScaling } from "./matvec-report.ts"
import { mergeParts } from "./matvec-results.ts"
import { matvecTable } from "./matvec-table.ts"

const LABEL = {
  cpu: "CPU",
  cores: 2,
  threads: 2,
  level: "scalar",
  memoryBytes: 1,
  commit: "a",
  version: "0",
  date: "2026-01-01",
}

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

const contender = (name: string, medianSeconds: number) => {
  return { name, bytes: 1e8, medianSeconds, bestSeconds: medianSeconds, gigaflops: 1 }
}

const resultOf = (rows: number, threads: number, int8Seconds = 0.01) => ({
  ...{ experts: 1, rows, columns: 2880, threads, level: "scalar", readPlain: 1e10, readInterleaved: 2e10 },
  ...{ contenders: [contender("int8", int8Seconds), contender("float", 0.0215)], left: "not asked for" },
})

test("runs in parts become one: of one program on one machine, and in order", () => {
  const first = mergeParts(undefined, { machine: LABEL, results: [resultOf(9, 1), resultOf(2, 1)] })
  const second = mergeParts(first, { machine: LABEL, results: [resultOf(9, 2), resultOf(2, 1, 0.5)] })
  expect(second.results).toEqual([resultOf(2, 1, 0.5), resultOf(9, 1), resultOf(9, 2)])
  const other = { machine: { ...LABEL, commit: "c" }, results: [resultOf(5, 1)] }
  expect(mergeParts(second, other)).toEqual(other)
})

test("README's table comes from the results, once all of them are there", () => {
  const results = [resultOf(65536, 1), resultOf(65536, 2), resultOf(3072, 1), resultOf(3072, 2)]
  const table = matvecTable(LABEL, results)
  expect(table).toContain("65536 × 2880, 1 core | 2 cores | 3072 × 2880 (in cache), 1 core |\n")
  expect(table).toContain("\n| this program: packed GB/s | 10.0 | 10.0 | 10.0 |\n")
  expect(table).toContain("\n| memory read in a plain loop, GB/s; share of it | 10.0; 1.00 | 10.0; 1.00 | – |\n")
  expect(table).toContain("\n| float arithmetic | 2.1 | 2.1 | 2.1 |\n")
  expect(table).toContain("\n| ggml, plain layout | – | – | – |\n")
  expect(matvecTable(LABEL, results.slice(1))).toBeUndefined()
})
