/**
 * `bun run fuzz [name] [seed] [count]`: parsers, plans, jobs, or smoke (a little of each). The seed is printed first;
 * with it a run can be had again. Native kernels and plans have fuzzers of their own: `zig build fuzz`.
 */
import { randomWords } from "../support/checkpoints.ts"
import { fuzzJobs, GROWTH_MAX } from "./jobs.ts"
import { fuzzParsers } from "./parsers.ts"
import { fuzzPlans } from "./plans.ts"

interface Fuzzer {
  /** Runs, throws where something is wrong, and says what it did. */
  readonly run: (count: number, next: () => number) => Promise<string>
  readonly smoke: number
  readonly count: number
}

export const fuzzers: Readonly<Record<string, Fuzzer>> = {
  parsers: {
    run: async (count, next) => {
      const { executions, accepted } = await fuzzParsers(count, next)
      return `${executions} inputs, ${accepted} of them accepted, none crashed and none hung`
    },
    smoke: 200_000,
    count: 10_000_000,
  },
  plans: {
    run: async (count, next) => {
      const { plans, tensors, bytes } = await fuzzPlans(count, next)
      return `${plans} random checkpoints converted, ${tensors} tensors in ${bytes} bytes compared, none differs`
    },
    smoke: 40,
    count: 5000,
  },
  jobs: {
    run: async (count, next) => {
      const { operations, started, ended, cancelled, grown } = await fuzzJobs(count, next)
      if (grown > GROWTH_MAX) throw new Error(`the process has grown by ${grown} bytes`)
      return `${operations} operations on ${started} jobs (${ended} ended, ${cancelled} cancelled), ${grown} bytes grown`
    },
    smoke: 6000,
    count: 200_000,
  },
}

/** Runs one and gives its line; a failure names the seed. */
export async function fuzz(name: string, seed: number, count: number): Promise<string> {
  try {
    return `fuzz ${name}: seed ${seed}: ${await fuzzers[name]!.run(count, randomWords(seed))}`
  } catch (error) {
    throw new Error(`fuzz ${name} fails with seed ${seed} and count ${count}`, { cause: error })
  }
}

if (import.meta.main) {
  const [name = "smoke", seedText, countText] = process.argv.slice(2)
  const seed = seedText === undefined ? Date.now() % 2 ** 32 : Number(seedText)
  const names = name === "smoke" ? Object.keys(fuzzers) : [name]
  for (const each of names) {
    const fuzzer = fuzzers[each]
    if (fuzzer === undefined) throw new Error(`there is no fuzzer ${each}: ${Object.keys(fuzzers).join(", ")}, smoke`)
    const standard = name === "smoke" ? fuzzer.smoke : fuzzer.count
    console.log(`fuzz ${each}: seed ${seed}`)
    console.log(await fuzz(each, seed, countText === undefined ? standard : Number(countText)))
  }
}
