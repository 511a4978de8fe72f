/**
 * Measures the program beside what bounds it, prints the figures and keeps them in test/bench/results:
 *
 *     npm run bench [-- convert] [--case NAME]... [--place tmpfs|disk] [--repeat N] [--peers N] [-- options of convert]
 *     npm run bench -- matvec [--repeat N] [--shape [E×]ROWSxCOLUMNS] [--threads N] [--part]
 *     npm run bench -- startup [--repeat N]
 *     npm run bench -- scale [--layers N]... [--place tmpfs|disk] [--repeat N]
 *
 * Cases of convert: original, hf, fp8, gptq, gguf; by default all of them, on tmpfs. They need 8 GB there, or on the disk
 * of the temporary folder; matvec needs 2 GB, scale 19 GB. Whom both are compared with `bun test/bench/peers/setup.ts` installs.
 * Of matvec only a run as it stands is kept; with --part, for machines that are idle for a minute at a time, each run's
 * shapes join those that earlier ones of the same commit have kept.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { benchConvert, CONVERT_BENCH, type ConvertBenchResult, describeConvert } from "./convert.ts"
import { CONVERT_CASE_NAMES, CONVERT_PLACES } from "./convert-cases.ts"
import { keepConvertResults } from "./convert-results.ts"
import { describeMachine, type MachineLabel } from "./machine.ts"
import { benchMatvec, MATVEC_BENCH } from "./matvec.ts"
import type { MatvecShape } from "./matvec-contenders.ts"
import { describeMatvec, describeScaling } from "./matvec-report.ts"
import { keepMatvecResults } from "./matvec-results.ts"
import { benchScale, describeScale, SCALE_BENCH } from "./scale.ts"
import { keepScaleResults } from "./scale-results.ts"
import { benchStartup, describeStartup } from "./startup.ts"

/** Starts of each command. */
const STARTUP_ROUNDS = 30

const RESULTS = join(import.meta.dir, "results")

const USAGE = `usage: run.ts convert [--case NAME]... [--place tmpfs|disk] [--repeat N] [--peers N] [-- options]
       run.ts matvec [--repeat N] [--shape [EXPERTSx]ROWSxCOLUMNS] [--threads N] [--part]
       run.ts startup [--repeat N]
       run.ts scale [--layers N]... [--place tmpfs|disk] [--repeat N]`

function parse() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      repeat: { type: "string" },
      case: { type: "string", multiple: true },
      place: { type: "string", default: CONVERT_BENCH.place },
      peers: { type: "string" },
      layers: { type: "string", multiple: true },
      shape: { type: "string", multiple: true },
      threads: { type: "string", multiple: true },
      part: { type: "boolean" },
    },
  })
  const [name = "convert", ...options] = positionals
  return { name, options, ...values }
}

type Arguments = ReturnType<typeof parse>

/** A bench's text, and how to keep its results: only where it ran as it stands are they worth it. */
interface Ran {
  readonly lines: readonly string[]
  readonly keep: ((machine: MachineLabel) => void) | undefined
}

async function runConvert({ options, case: names, place: wanted, repeat, peers }: Arguments): Promise<Ran> {
  const place = CONVERT_PLACES.find((one) => one === wanted)
  const cases = CONVERT_CASE_NAMES.filter((one) => names === undefined || names.includes(one))
  if (cases.length !== new Set(names ?? cases).size || place === undefined) throw new Error(USAGE)
  const results: ConvertBenchResult[] = []
  for (const name of cases) {
    const counts = { repeat: count(repeat, CONVERT_BENCH.repeat), peerRepeat: count(peers, CONVERT_BENCH.peerRepeat) }
    results.push(await benchConvert(name, { ...CONVERT_BENCH, ...counts, place, options }))
  }
  const keep = options.length === 0 ? (machine: MachineLabel) => keepConvertResults(results, machine) : undefined
  return { lines: results.flatMap(describeConvert), keep }
}

async function runMatvec({ shape, threads, repeat, part }: Arguments): Promise<Ran> {
  const results = await benchMatvec({
    ...MATVEC_BENCH,
    ...(shape === undefined ? {} : { shapes: shape.map(parseShape) }),
    ...(threads === undefined ? {} : { threads: threads.map((text) => count(text, 0)) }),
    rounds: count(repeat, MATVEC_BENCH.rounds),
  })
  const lines = [...results.flatMap(describeMatvec), ...describeScaling(results)]
  const isWhole = shape === undefined && threads === undefined
  const keep = (machine: MachineLabel) => keepMatvecResults({ machine, results }, part ?? false)
  return { lines, keep: isWhole || part ? keep : undefined }
}

async function runStartup({ repeat }: Arguments): Promise<Ran> {
  const results = await benchStartup(count(repeat, STARTUP_ROUNDS))
  const keep = (machine: MachineLabel) => write("startup", { bench: "startup", machine, results })
  return { lines: describeStartup(results), keep: repeat === undefined ? keep : undefined }
}

async function runScale({ layers, place: wanted, repeat }: Arguments): Promise<Ran> {
  const place = CONVERT_PLACES.find((one) => one === wanted)
  if (place === undefined) throw new Error(USAGE)
  const result = await benchScale({
    ...SCALE_BENCH,
    place,
    layers: layers?.map((text) => count(text, 0)) ?? SCALE_BENCH.layers,
    repeat: count(repeat, SCALE_BENCH.repeat),
  })
  const keep = (machine: MachineLabel) => keepScaleResults(result, machine)
  return { lines: describeScale(result), keep: layers === undefined ? keep : undefined }
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
  const bench = { convert: runConvert, matvec: runMatvec, startup: runStartup, scale: runScale }[given.name]
  if (bench === undefined) throw new Error(USAGE)
  const machine = describeMachine()
  console.log(`${machine.cpu}, ${machine.cores} cores, level ${machine.level}, commit ${machine.commit}`)
  const { lines, keep } = await bench(given)
  console.log(lines.join("\n"))
  keep?.(machine)
}

function write(name: string, value: unknown): void {
  mkdirSync(RESULTS, { recursive: true })
  writeFileSync(join(RESULTS, `${name}.json`), `${JSON.stringify(value, null, 2)}\n`)
}

await main()
