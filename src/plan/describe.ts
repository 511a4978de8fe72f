/** What a plan comes to, as values for `--json` and as lines for people. Used by `inspect` and `convert --dry-run`. */
import { quote } from "../containers/quote.ts"
import { formatBytesExact, formatMemory, formatPlural } from "../format.ts"
import type { JobMeasure } from "../native/job.ts"
import { describePart } from "./part.ts"
import type { Plan } from "./plan.ts"

/** Names that a note lists before it says how many more there are. */
const NAMES_MAX = 3

export interface PlanFacts {
  /** From `measurePlan`. */
  readonly measure?: JobMeasure | undefined
  /** Bytes free on the device of the output. */
  readonly freeBytes?: number | undefined
}

export interface PlanSummary {
  readonly input: string
  readonly kind: "file" | "folder"
  /** "2/4: 3 of 12 shards" where the plan is that of a part; then all numbers are the part's. */
  readonly part: string | null
  readonly to: string
  readonly layout: string
  /** Tensors of the output: decoded, cast and copied. */
  readonly tensors: number
  readonly decoded: number
  readonly cast: number
  readonly copied: number
  /** Quantized weights that stay as they are stored. */
  readonly kept: number
  /** Files of the output: shards, config, index and side files. */
  readonly files: number
  readonly shards: readonly { readonly name: string; readonly tensors: number; readonly bytes: number }[]
  readonly bytesIn: number
  readonly bytesOut: number
  /** Working buffers in bytes, and threads; null where they were not measured. */
  readonly memoryBytes: number | null
  readonly threads: number | null
  /** null where no output was named. */
  readonly freeBytes: number | null
  /** Sentences that the user should read before the work starts. */
  readonly notes: readonly string[]
}

/** The values. */
export function summarizePlan(plan: Plan, facts: PlanFacts = {}): PlanSummary {
  const tensors = plan.shards.reduce((count, shard) => count + shard.tensors.length, 0)
  return {
    input: plan.checkpoint.path,
    kind: plan.kind,
    part: describePart(plan) ?? null,
    to: plan.options.to,
    layout: plan.options.layout,
    tensors,
    decoded: plan.weightCount,
    cast: plan.castCount,
    copied: tensors - plan.weightCount - plan.castCount,
    kept: plan.keptWeights.length,
    files: outputNames(plan).length,
    shards: plan.shards.map(({ name, tensors, size }) => ({ name, tensors: tensors.length, bytes: size })),
    bytesIn: plan.bytesIn,
    bytesOut: plan.bytesOut,
    memoryBytes: facts.measure?.memoryBytes ?? null,
    threads: facts.measure?.threads ?? null,
    freeBytes: facts.freeBytes ?? null,
    notes: planNotes(plan),
  }
}

/** Names of all files of the output, in the order in which they get them: what makes it complete comes last. */
export function outputNames(plan: Plan): string[] {
  return [
    ...plan.sideFiles.map((file) => file.name),
    ...plan.textFiles.map((file) => file.name),
    ...(plan.config === undefined ? [] : ["config.json"]),
    ...plan.shards.map((shard) => shard.name),
    ...(plan.index === undefined ? [] : [plan.index.name]),
  ]
}

/** Sentences about what is not as one might expect. */
export function planNotes(given: Plan): string[] {
  const plan = given.partial?.whole ?? given
  const notes = [...plan.inventory.disagreements, ...(plan.inventory.notes ?? [])]
  if (plan.inventory.weights.length === 0) {
    notes.push(
      plan.castCount === 0
        ? "no tensor is quantized: the output is a copy"
        : `no tensor is quantized: ${formatPlural(plan.castCount, "tensor")} cast, the others copied`,
    )
  }
  if (plan.keptWeights.length > 0) {
    const names = listNames(plan.keptWeights.map((weight) => weight.name))
    const settings = plan.config === undefined ? "" : "; config.json keeps the quantization settings"
    notes.push(`${formatPlural(plan.keptWeights.length, "weight")} left quantized as stored: ${names}${settings}`)
  }
  const written = new Set(plan.shards.flatMap((shard) => shard.tensors.map((tensor) => tensor.name)))
  const dropped = plan.inventory.dropped.filter((tensor) => !written.has(tensor.name))
  if (dropped.length > 0) {
    const names = listNames(dropped.map((tensor) => tensor.name))
    notes.push(`${formatPlural(dropped.length, "side tensor")} of the quantization left out: ${names}`)
  }
  const { leftOut } = plan.checkpoint
  if (plan.kind === "folder" && leftOut.length > 0) {
    notes.push(`${formatPlural(leftOut.length, "entry", "entries")} of the folder not copied: ${listNames(leftOut)}`)
  }
  return notes
}

function listNames(names: readonly string[]): string {
  const shown = names.slice(0, NAMES_MAX).map(quote).join(", ")
  return names.length <= NAMES_MAX ? shown : `${shown} and ${names.length - NAMES_MAX} more`
}

/** The lines. */
export function describePlan(summary: PlanSummary): string[] {
  const { decoded, cast, copied, shards } = summary
  const work = [
    `${formatPlural(decoded, "weight")} decoded to ${summary.to}`,
    ...(cast > 0 ? [`${cast} cast`] : []),
    `${copied} copied`,
  ]
  const lines = [
    ...(summary.part === null ? [] : [`part     ${summary.part}`]),
    `tensors  ${summary.tensors}: ${work.join(", ")}`,
    `files    ${summary.files}, of them ${formatPlural(shards.length, "shard")}`,
    `read     ${formatBytesExact(summary.bytesIn)}`,
    `write    ${formatBytesExact(summary.bytesOut)}`,
  ]
  if (summary.memoryBytes !== null && summary.threads !== null) {
    lines.push(`memory   ${formatMemory(summary.memoryBytes)} of buffers, ${formatPlural(summary.threads, "thread")}`)
  }
  if (summary.freeBytes !== null) lines.push(`free     ${formatBytesExact(summary.freeBytes)}`)
  return [...lines, ...summary.notes.map((note) => `note     ${note}`)]
}
