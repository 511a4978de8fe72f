/**
 * Measures the program beside what bounds it, prints the figures and keeps them in test/bench/results:
 *
 *     npm run bench [-- convert] [--repeat N] [--naming original|hf] [-- options of convert]
 *     npm run bench -- matvec [--repeat N] [--shape [E×]ROWSxCOLUMNS] [--threads N]
 *     npm run bench -- startup [--repeat N]
 *
 * convert needs 8 GB, in memory where there is plenty, else in the temporary folder; matvec 2 GB, and for the peers what
 * `bun test/reference/setup.ts full` installs.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { benchConvert, CONVERT_BENCH, describeConvert } from "./convert.ts"
import { describeMachine } from "./machine.ts"
import { benchMatvec, describeMatvec, describeScaling, MATVEC_BENCH, type MatvecShape } from "./matvec.ts"
import { benchStartup, describeStartup } from "./startup.ts"

/** Starts of each command. */
const STARTUP_ROUNDS = 30

const RESULTS = join(import.meta.dir, "results")

const USAGE = `usage: run.ts convert [--repeat N] [--naming original|hf] [-- options of convert]
       run.ts matvec [--repeat N] [--shape [EXPERTSx]ROWSxCOLUMNS] [--threads N]
       run.ts startup [--repeat N]`

function parse() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      repeat: { type: "string" },
      naming: { type: "string" },
      shape: { type: "string", multiple: true },
      threads: { type: "string", multiple: true },
    },
  })
  const [name = "convert", ...options] = positionals
  return { name, options, ...values }
}

type Arguments = ReturnType<typeof parse>

/** A bench's results, their text, and whether it ran as it stands: only then is it worth keeping. */
interface Ran {
  readonly results: readonly unknown[]
  readonly lines: readonly string[]
  readonly whole: boolean
}

async function runConvert({ options, naming, repeat }: Arguments): Promise<Ran> {
  const namings = CONVERT_BENCH.namings.filter((one) => naming === undefined || one === naming)
  if (namings.length === 0) throw new Error(USAGE)
  const results = await benchConvert({
    ...CONVERT_BENCH,
    repeat: count(repeat, CONVERT_BENCH.repeat),
    namings,
    options,
  })
  const whole = options.length === 0 && namings.length === CONVERT_BENCH.namings.length
  return { results, lines: results.flatMap(describeConvert), whole }
}

async function runMatvec({ shape, threads, repeat }: Arguments): Promise<Ran> {
  const results = await benchMatvec({
    ...MATVEC_BENCH,
    ...(shape === undefined ? {} : { shapes: shape.map(parseShape) }),
    ...(threads === undefined ? {} : { threads: threads.map((text) => count(text, 0)) }),
    rounds: count(repeat, MATVEC_BENCH.rounds),
  })
  const lines = [...results.flatMap(describeMatvec), ...describeScaling(results)]
  return { results, lines, whole: shape === undefined && threads === undefined }
}

async function runStartup({ repeat }: Arguments): Promise<Ran> {
  const results = await benchStartup(count(repeat, STARTUP_ROUNDS))
  return { results, lines: describeStartup(results), whole: repeat === undefined }
}

function parseShape(text: string): MatvecShape {
  const numbers = text.split(/[x×]/).map((word) => count(word, 0))
  const [columns, rows, experts = 1] = numbers.toReversed()
  if (rows === undefined || columns === undefined || columns % 32 !== 0 || numbers.length > 3) throw new Error(USAGE)
  return { experts, rows, columns }
}

function count(text: string | undefined, initial: number): number {
  const value = text === undefined ? initial : Number(text)
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(USAGE)
  return value
}

async function main(): Promise<void> {
  const given = parse()
  const bench = { convert: runConvert, matvec: runMatvec, startup: runStartup }[given.name]
  if (bench === undefined) throw new Error(USAGE)
  const machine = describeMachine()
  console.log(`${machine.cpu}, ${machine.cores} cores, level ${machine.level}, commit ${machine.commit}`)
  const { results, lines, whole } = await bench(given)
  console.log(lines.join("\n"))
  if (!whole) return
  mkdirSync(RESULTS, { recursive: true })
  const text = JSON.stringify({ bench: given.name, machine, results }, null, 2)
  writeFileSync(join(RESULTS, `${given.name}.json`), `${text}\n`)
}

await main()
