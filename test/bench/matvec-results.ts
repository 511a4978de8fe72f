/** What products have measured, with machine and commit, in results/matvec.json, and README's table of it. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { MachineLabel } from "./machine.ts"
import type { MatvecBenchResult } from "./matvec.ts"
import { matvecTable } from "./matvec-table.ts"

const PATH = join(import.meta.dir, "results", "matvec.json")
const README = join(import.meta.dir, "..", "..", "README.md")

export interface KeptMatvec {
  readonly machine: MachineLabel
  readonly results: readonly MatvecBenchResult[]
}

/** What was kept last; undefined where nothing was. */
export function readMatvecResults(): KeptMatvec | undefined {
  return existsSync(PATH) ? (JSON.parse(readFileSync(PATH, "utf8")) as KeptMatvec) : undefined
}

/**
 * Keeps a run, or a part of one, and puts README's table in the place of the one before once all that it shows has been
 * measured.
 */
export function keepMatvecResults(run: KeptMatvec, isPart: boolean): void {
  const { machine, results } = isPart ? mergeParts(readMatvecResults(), run) : run
  mkdirSync(join(PATH, ".."), { recursive: true })
  writeFileSync(PATH, `${JSON.stringify({ bench: "matvec", machine, results }, null, 2)}\n`)
  const table = matvecTable(machine, results)
  if (table === undefined) return
  const text = readFileSync(README, "utf8")
  writeFileSync(
    README,
    text.replace(TABLE, (_, begin, _table, end) => `${begin}${table}${end}`),
  )
}

/**
 * What an earlier part of the same program on the same machine has kept stays, but for what was measured again. The
 * order is that of experts, sizes and threads.
 */
export function mergeParts(earlier: KeptMatvec | undefined, part: KeptMatvec): KeptMatvec {
  const same = (["cpu", "cores", "level", "commit"] as const).every(
    (key) => earlier?.machine[key] === part.machine[key],
  )
  const merged = new Map<string, MatvecBenchResult>()
  for (const result of [...(same ? (earlier?.results ?? []) : []), ...part.results])
    merged.set(keyOf(result).join(), result)
  const results = [...merged.values()].sort((a, b) => {
    const [left, right] = [keyOf(a), keyOf(b)]
    return left.map((number, i) => number - right[i]!).find((difference) => difference !== 0) ?? 0
  })
  return { machine: part.machine, results }
}

function keyOf({ experts, rows, columns, threads }: MatvecBenchResult): readonly number[] {
  return [experts, rows * columns, rows, threads]
}

const TABLE = /(<!-- products -->\n)(.*?)(<!-- \/products -->)/s

/** The table as README has it. */
export function readmeMatvecTable(): string | undefined {
  return readFileSync(README, "utf8").match(TABLE)?.[2]
}
