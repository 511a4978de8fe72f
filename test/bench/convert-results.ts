/** What conversions have measured, each case with the machine and commit of its run, in results/convert.json. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { ConvertBenchResult } from "./convert.ts"
import { convertTable } from "./convert-table.ts"
import type { MachineLabel } from "./machine.ts"

const PATH = join(import.meta.dir, "results", "convert.json")
const README = join(import.meta.dir, "..", "..", "README.md")

export interface KeptConvert extends ConvertBenchResult {
  readonly machine: MachineLabel
}

export function readConvertResults(): KeptConvert[] {
  if (!existsSync(PATH)) return []
  return (JSON.parse(readFileSync(PATH, "utf8")) as { results: KeptConvert[] }).results
}

/** Puts results in the place of earlier ones of the same case, and README's table in that of the one before. */
export function keepConvertResults(results: readonly ConvertBenchResult[], machine: MachineLabel): void {
  const isNew = (kept: KeptConvert) => results.some((one) => one.case === kept.case && one.place === kept.place)
  const kept = [...readConvertResults().filter((one) => !isNew(one)), ...results.map((one) => ({ ...one, machine }))]
  mkdirSync(join(PATH, ".."), { recursive: true })
  writeFileSync(PATH, `${JSON.stringify({ bench: "convert", results: kept }, null, 2)}\n`)
  const text = readFileSync(README, "utf8")
  writeFileSync(
    README,
    text.replace(TABLE, (_, begin, _table, end) => `${begin}${convertTable(kept)}${end}`),
  )
}

const TABLE = /(<!-- conversions -->\n)(.*?)(<!-- \/conversions -->)/s

/** The table as README has it. */
export function readmeConvertTable(): string | undefined {
  return readFileSync(README, "utf8").match(TABLE)?.[2]
}
