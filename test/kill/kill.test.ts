/** A few dozen runs of `kill.ts` and `parts.ts`, which count and compare. */
import { expect, test } from "bun:test"
import { describeCounts, killAndResume } from "./kill.ts"
import { describePartCounts, killParts } from "./parts.ts"

test("runs that are killed at random moments and resumed give what one run gives", async () => {
  const seed = Date.now() % 2 ** 32
  console.log(`seed ${seed}`)
  const counts = await killAndResume(24, seed)
  console.log(describeCounts(counts))
  expect(counts.kills).toBeGreaterThanOrEqual(24)
  expect(counts.outputs).toBeGreaterThan(0)
}, 120_000)

test("parts and their finishing that are killed at random moments give what one run gives", async () => {
  const seed = Date.now() % 2 ** 32
  console.log(`seed ${seed}`)
  const counts = await killParts(12, seed)
  console.log(describePartCounts(counts))
  expect(counts.outputs).toBeGreaterThan(0)
}, 120_000)
