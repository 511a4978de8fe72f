/** What `convert` says of a plan and of a run, as lines and as JSON. */
import { escapeText } from "../containers/quote.ts"
import {
  formatBytes,
  formatBytesExact,
  formatInteger,
  formatMemory,
  formatPlural,
  formatRate,
  formatSeconds,
} from "../format.ts"
import type { PlanSummary } from "../plan/describe.ts"
import { describePart, partOf } from "../plan/part.ts"
import type { Plan } from "../plan/plan.ts"
import { renderFacts } from "../ui/table.ts"
import type { Palette } from "../ui/terminal.ts"
import type { ConversionReport, FinishReport } from "../writer/types.ts"
import { comparedText } from "./compared.ts"

/** What the work will take, in a line for the head of the progress. */
export function workLine({ bytesIn, bytesOut, memoryBytes, threads }: PlanSummary): string {
  const memory = memoryBytes === null ? "" : `, ${formatMemory(memoryBytes)} of buffers`
  const engine = threads === null ? "" : `, ${formatPlural(threads, "thread")}`
  return `${formatBytes(bytesIn)} in, ${formatBytes(bytesOut)} out${memory}${engine}`
}

/** The summary of a run: what was written, how fast, by what, whether it was checked; `output` as the user named it. */
export function reportLines(output: string, report: ConversionReport, plan: Plan, paint: Palette): string[] {
  const own = report.part === undefined ? plan : partOf(plan, report.part)
  const part = describePart(own)
  const tensors = own.shards.reduce((sum, shard) => sum + shard.tensors.length, 0)
  const others = tensors - report.weights - own.castCount
  const work = [
    ...(report.weights > 0 ? [`${formatPlural(report.weights, "weight")} decoded to ${plan.options.to}`] : []),
    ...(own.castCount > 0 ? [`${formatInteger(own.castCount)} cast`] : []),
    ...(others > 0 ? [`${formatInteger(others)} copied`] : []),
  ]
  const { verified } = report
  const threads = formatPlural(report.threads, "thread")
  const facts: (readonly [string, string])[] = [
    ["output", escapeText(output)],
    ...(part === undefined ? [] : [["part", part] as const]),
    ["size", `${formatBytesExact(report.bytesWritten)} in ${formatPlural(report.files.length, "file")}`],
    ["tensors", work.length > 0 ? work.join(", ") : "none"],
    ...(report.resumed > 0 ? [["kept", `${formatPlural(report.resumed, "shard")} of an earlier run`] as const] : []),
    ["time", `${formatSeconds(report.seconds)}, ${formatRate(report.bytesWritten, report.seconds)} written`],
    ["engine", `${threads}, ${report.level}, ${ioText(report)}, ${formatMemory(report.memoryBytes)} of buffers`],
    [
      "verified",
      verified === undefined ? "not asked for" : `${comparedText(verified)} (${formatSeconds(verified.seconds)})`,
    ],
  ]
  if (report.finished !== undefined) facts.push(["finished", finishText(report.finished)])
  return renderFacts(facts, { paintName: paint.faint })
}

/** What the last part has finished. */
function finishText({ parts, bytes, files, bytesChecked }: FinishReport): string {
  const checked = bytesChecked > 0 ? ", compared with the parts' checksums" : ""
  return `all ${formatPlural(parts, "part")}: ${formatBytes(bytes)} in ${formatPlural(files.length, "file")}${checked}`
}

/** How the input was read and the output written. */
function ioText({ io, targetIo }: ConversionReport): string {
  return io === targetIo ? io : `${io} in, ${targetIo} out`
}

/** The same as one JSON object; sizes in bytes, times in seconds. */
export function reportJson(report: ConversionReport): unknown {
  const { verified } = report
  return {
    schema: 1,
    output: report.output,
    files: report.files,
    part: report.part ?? null,
    was_complete: report.wasComplete,
    weights: report.weights,
    shards_kept: report.resumed,
    bytes_read: report.bytesRead,
    bytes_written: report.bytesWritten,
    seconds: report.seconds,
    threads: report.threads,
    level: report.level,
    io: report.io,
    target_io: report.targetIo,
    memory_bytes: report.memoryBytes,
    non_finite: report.wasComplete ? null : { count: report.nonFinite.count, tensor: report.nonFinite.tensor ?? null },
    verified:
      verified === undefined
        ? null
        : {
            ok: verified.ok,
            tensors: verified.tensors,
            elements_compared: verified.elementsCompared,
            elements_total: verified.elementsTotal,
            seconds: verified.seconds,
          },
    finished:
      report.finished === undefined
        ? null
        : {
            files: report.finished.files,
            parts: report.finished.parts,
            bytes: report.finished.bytes,
            bytes_checked: report.finished.bytesChecked,
            seconds: report.finished.seconds,
          },
  }
}

/** The plan as one JSON object; null where something was not measured. */
export function planJson(summary: PlanSummary): unknown {
  return {
    schema: 1,
    input: summary.input,
    kind: summary.kind,
    part: summary.part,
    to: summary.to.toLowerCase(),
    layout: summary.layout,
    tensors: summary.tensors,
    decoded: summary.decoded,
    cast: summary.cast,
    copied: summary.copied,
    kept: summary.kept,
    files: summary.files,
    shards: summary.shards,
    bytes_in: summary.bytesIn,
    bytes_out: summary.bytesOut,
    memory_bytes: summary.memoryBytes,
    threads: summary.threads,
    free_bytes: summary.freeBytes,
    notes: summary.notes,
  }
}
