/**
 * Measures the compiled program beside what bounds it, prints the figures and keeps them in test/bench/results:
 *
 *     npm run bench [-- convert] [--repeat N] [--naming original|hf] [-- options of convert]
 *
 * Needs 8 GB, in memory where there is plenty, else in the temporary folder.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { benchConvert, CONVERT_BENCH, describeConvert } from "./convert.ts"
import { describeMachine } from "./machine.ts"

const RESULTS = join(import.meta.dir, "results")

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { repeat: { type: "string", default: String(CONVERT_BENCH.repeat) }, naming: { type: "string" } },
  })
  const [name = "convert", ...options] = positionals
  const repeat = Number(values.repeat)
  const namings = CONVERT_BENCH.namings.filter((naming) => values.naming === undefined || naming === values.naming)
  if (name !== "convert" || !Number.isSafeInteger(repeat) || repeat < 1 || namings.length === 0) {
    throw new Error("usage: run.ts [convert] [--repeat N] [--naming original|hf] [-- options of convert]")
  }
  const machine = describeMachine()
  console.log(`${machine.cpu}, ${machine.cores} cores, level ${machine.level}, commit ${machine.commit}`)
  const results = await benchConvert({ ...CONVERT_BENCH, repeat, namings, options })
  for (const result of results) console.log(describeConvert(result).join("\n"))
  // Only the bench as it stands is worth keeping; runs with other options are for the eye.
  if (options.length > 0 || namings.length < CONVERT_BENCH.namings.length) return
  mkdirSync(RESULTS, { recursive: true })
  writeFileSync(join(RESULTS, `${name}.json`), `${JSON.stringify({ bench: name, machine, results }, null, 2)}\n`)
}

await main()
