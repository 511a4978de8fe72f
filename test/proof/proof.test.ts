/** The proof's sums: what its steps look for is what is printed. `npm run proof` runs them. */
import { expect, test } from "bun:test"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { fuzz, fuzzers } from "../fuzz/run.ts"
import { describeCounts } from "../kill/kill.ts"
import { describePartCounts } from "../kill/parts.ts"
import { countsOf, LONG, SHORT, type Step, stepsOf } from "./steps.ts"

const root = join(import.meta.dir, "..", "..")
const steps = stepsOf({ ...SHORT, seed: 7 })

function stepOf(part: string): Step {
  const found = steps.filter(({ command }) => command.join(" ").includes(part))
  expect(found).toHaveLength(1)
  return found[0]!
}

test("lines of several runs are added up, and a step without one has no counts", () => {
  const kills = stepOf("kill.ts")
  const line = describeCounts({ kills: 20, leftShards: 9, outputs: 3, shardsKept: 5, bytesCompared: 1000 })
  expect(countsOf(kills, `seed 7\n${line}\n`)).toEqual({ kills: 20, bytes: 1000 })
  expect(countsOf(kills, `${line}\n${line}\n`)).toEqual({ kills: 40, bytes: 2000 })
  expect(countsOf(kills, "seed 7\n")).toBeUndefined()
  const parts = describePartCounts({ parts: 9, finishes: 2, outputs: 1, filesCompared: 12 })
  expect(countsOf(stepOf("parts.ts"), parts)).toEqual({ kills: 11 })
})

test("the fuzzers' own lines are understood", async () => {
  for (const name of Object.keys(fuzzers)) {
    const counts = countsOf(stepOf(`run.ts ${name}`), await fuzz(name, 3, 20))
    expect(counts?.fuzz).toBeGreaterThanOrEqual(20)
  }
})

test("bits that were missed are no count of found ones", () => {
  const flips = stepOf("flips")
  expect(countsOf(flips, "1000 bits flipped in 6 files, 0 missed")).toEqual({ flips: 1000 })
  expect(countsOf(flips, "1000 bits flipped in 6 files, 1 missed")).toBeUndefined()
})

test("each step's file is there, and a long proof is what is promised of it", () => {
  for (const file of steps.flatMap(({ command }) => command.filter((word) => word.endsWith(".ts"))))
    expect([file, existsSync(join(root, file))]).toEqual([file, true])
  expect(LONG.kills).toBeGreaterThanOrEqual(200)
  expect(LONG.mutations).toBeGreaterThanOrEqual(10_000_000)
  expect(LONG.blocks).toBeGreaterThanOrEqual(100_000_000)
})
