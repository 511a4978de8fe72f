/** What the bench of sizes has measured, in results/scale.json with machine and commit, and README's table of it. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { MachineLabel } from "./machine.ts"
import type { ScaleBenchResult } from "./scale.ts"

const PATH = join(import.meta.dir, "results", "scale.json")
const README = join(import.meta.dir, "..", "..", "README.md")

export interface KeptScale extends ScaleBenchResult {
  readonly bench: "scale"
  readonly machine: MachineLabel
}

/** Undefined where none was kept. */
export function readScaleResults(): KeptScale | undefined {
  return existsSync(PATH) ? (JSON.parse(readFileSync(PATH, "utf8")) as KeptScale) : undefined
}

/** Keeps a run in the place of the one before, and README's table likewise. */
export function keepScaleResults(result: ScaleBenchResult, machine: MachineLabel): void {
  const kept: KeptScale = { bench: "scale", machine, ...result }
  mkdirSync(join(PATH, ".."), { recursive: true })
  writeFileSync(PATH, `${JSON.stringify(kept, null, 2)}\n`)
  const text = readFileSync(README, "utf8")
  writeFileSync(
    README,
    text.replace(TABLE, (_, begin, _table, end) => `${begin}${scaleTable(kept)}${end}`),
  )
}

const TABLE = /(<!-- scale -->\n)(.*?)(<!-- \/scale -->)/s

/** The table as README has it. */
export function readmeScaleTable(): string | undefined {
  return readFileSync(README, "utf8").match(TABLE)?.[2]
}

/** Lines of Markdown; none where nothing was kept. */
export function scaleTable(kept: KeptScale | undefined): string {
  if (kept === undefined) return ""
  const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(1)
  const rows = kept.points.map(({ bytesIn, bytesOut, seconds, secondsPerGigabyte, parts, peakRss }) => {
    const sizes = `${gigabytes(bytesIn)} → ${gigabytes(bytesOut)} GB${parts > 1 ? ` (${parts} parts)` : ""}`
    return `| ${sizes} | ${seconds.toFixed(2)} s | ${secondsPerGigabyte.toFixed(3)} s | ${Math.round(peakRss / 1e6)} MB |`
  })
  const threads = kept.threads.map(({ threads, seconds }) => `${seconds.toFixed(2)} s with ${threads}`).join(", ")
  const { tensors, shards, inspectSeconds, dryRunSeconds, peakRss } = kept.plan
  const plan =
    `${tensors.toLocaleString("en-US")} tensors in ${shards} shards: \`inspect\` ${inspectSeconds.toFixed(1)} s, ` +
    `\`convert --dry-run\` ${dryRunSeconds.toFixed(1)} s, ${Math.round(peakRss / 1e6)} MB.`
  const { cpu, cores, level, commit } = kept.machine
  return [
    "| gpt-oss-20b, its first layers to all of it | time | for each GB read or written | peak memory |",
    "| --- | --- | --- | --- |",
    ...rows,
    "",
    `The first row by threads: ${threads}. Headers and plan of ${plan} ${cpu}, ${cores} cores, ${level}, commit ${commit}.`,
    "",
  ].join("\n")
}
