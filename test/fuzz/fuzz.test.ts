/** A little of each fuzzer, with a seed of its own each time. */
import { expect, test } from "bun:test"
import { fuzz, fuzzers } from "./run.ts"

test.each(Object.entries(fuzzers))(
  "%s",
  async (name, { smoke }) => {
    const seed = Date.now() % 2 ** 32
    console.log(`fuzz ${name}: seed ${seed}`)
    const line = await fuzz(name, seed, smoke)
    console.log(line)
    expect(line).toStartWith(`fuzz ${name}`)
  },
  120_000,
)
