/** A few dozen runs of `kill.ts`, which counts and compares. */
import { expect, test } from "bun:test"
import { describeCounts, killAndResume } from "./kill.ts"

test("runs that are killed at random moments and resumed give what one run gives", async () => {
  const seed = Date.now() % 2 ** 32
  console.log(`seed ${seed}`)
  const counts = await killAndResume(24, seed)
  console.log(describeCounts(counts))
  expect(counts.kills).toBeGreaterThanOrEqual(24)
  expect(counts.outputs).toBeGreaterThan(0)
}, 120_000)
