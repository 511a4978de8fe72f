/** `convert`: dequantizes a checkpoint. */
import { openCheckpoint } from "../checkpoint/open.ts"
import { escapeText, quote } from "../containers/quote.ts"
import { UsageError } from "../errors.ts"
import { planConversion } from "../plan/conversion.ts"
import { describePlan, type PlanSummary, planNotes, summarizePlan } from "../plan/describe.ts"
import { measurePlan } from "../plan/measure.ts"
import type { Plan, PlanOptions } from "../plan/plan.ts"
import { command } from "../ui/command.ts"
import { formatBytesExact, formatInteger, formatMemory, formatPlural, formatRate, formatSeconds } from "../ui/format.ts"
import type { Ui } from "../ui/globals.ts"
import { choice, flag, list, type OptionValues, size, text } from "../ui/option.ts"
import { createProgress } from "../ui/progress.ts"
import { withSignals } from "../ui/signals.ts"
import { renderFacts } from "../ui/table.ts"
import { print, printLines } from "../ui/terminal.ts"
import { freeBytes } from "../writer/place.ts"
import { runPlan } from "../writer/run.ts"
import type { ConversionReport } from "../writer/types.ts"
import { comparedText } from "./compared.ts"
import { denseDtypeOption } from "./dtype-option.ts"
import { useLevel } from "./level.ts"
import { threadCount, workOptions } from "./work-options.ts"

const options = {
  output: text({
    short: "o",
    group: "Output",
    value: "FILE|DIR",
    completes: "path",
    help: "a file for a file, a folder for a folder",
  }),
  to: { ...denseDtypeOption("dtype of the dequantized tensors"), group: "Output" },
  "keep-dtypes": flag({ group: "Output", help: "other tensors stay as they are; the default" }),
  "cast-all": flag({ group: "Output", help: "other floating-point tensors are cast too" }),
  layout: choice({
    group: "Output",
    choices: ["auto", "hf", "raw"],
    initial: "auto",
    help: "form of packed experts; auto: as their names say",
  }),
  include: list({ group: "Output", value: "GLOB", help: "dequantize only these dense names; repeatable" }),
  exclude: list({ group: "Output", value: "GLOB", help: "leave these names as stored; repeatable" }),
  "shard-size": size({
    group: "Output",
    initial: "keep",
    defaultText: "keep",
    words: ["keep", "single"],
    help: "tensor bytes in each file",
  }),
  force: flag({ short: "f", group: "Output", help: "replace the output" }),
  "dry-run": flag({ short: "n", group: "Output", help: "print the plan and write nothing" }),
  verify: choice({
    group: "Checks",
    choices: ["none", "sample", "full"],
    initial: "sample",
    help: "read the output back and compare",
  }),
  "non-finite": choice({
    group: "Checks",
    choices: ["error", "warn", "allow"],
    initial: "warn",
    help: "results that are NaN or infinite",
  }),
  ...workOptions,
} as const

type Values = OptionValues<typeof options>

function planOptions(values: Values): PlanOptions {
  if (values["keep-dtypes"] && values["cast-all"])
    throw new UsageError("--keep-dtypes and --cast-all exclude each other")
  return {
    to: values.to,
    castAll: values["cast-all"],
    layout: values.layout,
    include: values.include,
    exclude: values.exclude,
    shardSize: values["shard-size"],
  }
}

function reportLines(output: string, report: ConversionReport, plan: Plan, ui: Ui): string[] {
  const tensors = plan.shards.reduce((sum, shard) => sum + shard.tensors.length, 0)
  const others = tensors - report.weights - plan.castCount
  const work = [
    ...(report.weights > 0 ? [`${formatPlural(report.weights, "weight")} decoded to ${plan.options.to}`] : []),
    ...(plan.castCount > 0 ? [`${formatInteger(plan.castCount)} cast`] : []),
    ...(others > 0 ? [`${formatInteger(others)} copied`] : []),
  ]
  const { verified } = report
  const facts: (readonly [string, string])[] = [
    ["output", escapeText(output)],
    ["size", `${formatBytesExact(report.bytesWritten)} in ${formatPlural(report.files.length, "file")}`],
    ["tensors", work.join(", ")],
    ["time", `${formatSeconds(report.seconds)}, ${formatRate(report.bytesWritten, report.seconds)} written`],
    [
      "engine",
      `${formatPlural(report.threads, "thread")}, ${report.level}, ${report.io}, ${formatMemory(report.memoryBytes)} of buffers`,
    ],
    [
      "verified",
      verified === undefined ? "not asked for" : `${comparedText(verified)} (${formatSeconds(verified.seconds)})`,
    ],
  ]
  return renderFacts(facts, { paintName: ui.paint.faint })
}

function reportJson(report: ConversionReport): unknown {
  const { verified } = report
  return {
    schema: 1,
    output: report.output,
    files: report.files,
    weights: report.weights,
    bytes_read: report.bytesRead,
    bytes_written: report.bytesWritten,
    seconds: report.seconds,
    threads: report.threads,
    level: report.level,
    io: report.io,
    memory_bytes: report.memoryBytes,
    non_finite: { count: report.nonFinite.count, tensor: report.nonFinite.tensor ?? null },
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
  }
}

function planJson(summary: PlanSummary): unknown {
  return {
    schema: 1,
    input: summary.input,
    kind: summary.kind,
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

/** The plan with what it needs of this machine. */
async function measuredSummary(plan: Plan, values: Values): Promise<PlanSummary> {
  const measure = measurePlan(plan, {
    threads: threadCount(values.threads),
    maxMemory: values["max-memory"],
    io: values.io,
  })
  const free = values.output === undefined ? undefined : await freeBytes(values.output)
  return summarizePlan(plan, { measure, freeBytes: free })
}

async function dryRun(plan: Plan, values: Values, ui: Ui): Promise<void> {
  const summary = await measuredSummary(plan, values)
  if (ui.json) print(`${JSON.stringify(planJson(summary))}\n`)
  else printLines(describePlan(summary))
}

async function convert(plan: Plan, output: string, values: Values, ui: Ui): Promise<ConversionReport> {
  const progress = createProgress(ui.progress, ui.color)
  try {
    return await withSignals((signal) =>
      runPlan(plan, {
        output,
        force: values.force,
        threads: threadCount(values.threads),
        maxMemory: values["max-memory"],
        io: values.io,
        verify: values.verify,
        nonFinite: values["non-finite"],
        onProgress: (event) => progress.update(event),
        signal,
      }),
    )
  } finally {
    progress.close()
  }
}

export default command(
  {
    name: "convert",
    alias: "dequantize",
    summary: "dequantize to BF16, F16 or F32 safetensors",
    usage: "<path> -o <file|dir> [options]",
    positionals: [{ name: "path", help: "file.safetensors, HF folder or its index.json", completes: "path" }],
    options,
    json: true,
    notes: [
      "SIZE is a number with k, M, G (powers of 1000) or Ki, Mi, Gi (powers of 1024). A GLOB knows * (also over dots), ?, [a-z] and {a,b}.",
      "The output appears under its name when it is complete and checked; a run that fails or is interrupted removes what it wrote.",
    ],
    examples: [
      { line: "dequantizer convert gpt-oss-20b/ -o gpt-oss-20b-bf16/", what: "a folder" },
      { line: "dequantizer convert gpt-oss-20b/ -o out/ --to f32 --shard-size 5GB -n", what: "only the plan of it" },
    ],
  },
  async ({ values, positionals, globals, ui }) => {
    const planned = planOptions(values)
    const { output } = values
    if (output === undefined && !values["dry-run"]) throw new UsageError("-o is missing: where should the output go?")
    const plan = planConversion(await openCheckpoint(positionals[0] ?? ""), planned)
    useLevel(globals)
    if (values["dry-run"] || output === undefined) {
      await dryRun(plan, values, ui)
      return undefined
    }
    if (ui.verbose) for (const line of describePlan(await measuredSummary(plan, values))) ui.detail(line)
    const report = await convert(plan, output, values, ui)
    // Only now: a failure is one line, and notes of a plan that failed help no one.
    if (!ui.verbose) for (const note of planNotes(plan)) ui.note(`note: ${note}`)
    if (report.nonFinite.count > 0 && values["non-finite"] !== "allow") {
      const first =
        report.nonFinite.tensor === undefined ? "" : `, the first in tensor ${quote(report.nonFinite.tensor)}`
      ui.warn(`${formatPlural(report.nonFinite.count, "result")} NaN or infinite${first}`)
    }
    if (ui.json) print(`${JSON.stringify(reportJson(report))}\n`)
    else if (!ui.quiet) printLines(reportLines(output, report, plan, ui))
    return undefined
  },
)
