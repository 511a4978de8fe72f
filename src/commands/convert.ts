/** `convert`: dequantizes a checkpoint. */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import { openCheckpoint } from "../checkpoint/open.ts"
import { escapeText, quote } from "../containers/quote.ts"
import { UsageError } from "../errors.ts"
import { formatPlural } from "../format.ts"
import { planConversion } from "../plan/conversion.ts"
import { describePlan, type PlanSummary, planNotes, summarizePlan } from "../plan/describe.ts"
import { measurePlan } from "../plan/measure.ts"
import { type Part, parsePart, partOf } from "../plan/part.ts"
import type { Plan, PlanOptions } from "../plan/plan.ts"
import { MISSING_SCALES } from "../schemes/scheme.ts"
import { command } from "../ui/command.ts"
import type { Ui } from "../ui/globals.ts"
import { choice, flag, list, type Option, type OptionValues, size, text } from "../ui/option.ts"
import { createProgress } from "../ui/progress.ts"
import { withSignals } from "../ui/signals.ts"
import { print, printLines } from "../ui/terminal.ts"
import { chooseIo } from "../writer/io-modes.ts"
import { freeBytes } from "../writer/place.ts"
import { runPlan } from "../writer/run.ts"
import type { ConversionReport } from "../writer/types.ts"
import { planJson, reportJson, reportLines, workLine } from "./conversion-report.ts"
import { denseDtypeOption } from "./dtype-option.ts"
import { useLevel } from "./level.ts"
import { threadCount, workOptions } from "./work-options.ts"

const options = {
  output: text({
    short: "o",
    group: "Output",
    value: "FILE|DIR",
    completes: "path",
    help: "a file for a file, a folder for a folder; for GGUF a folder, or a .safetensors file",
  }),
  to: { ...denseDtypeOption("dtype of the dequantized tensors"), group: "Output" },
  "keep-dtypes": flag({ group: "Output", help: "other tensors stay as they are; the default" }),
  "cast-all": flag({ group: "Output", help: "other floating-point tensors are cast too" }),
  layout: choice({
    group: "Output",
    choices: ["auto", "hf", "raw"],
    initial: "auto",
    help: "names and form of transformers, or as stored; auto: below",
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
  part: part({ group: "Output", help: "make every N-th shard from the I-th; `finish` completes the output" }),
  finish: flag({ group: "Output", help: "of a part: the one that ends last does what `finish` does" }),
  resume: flag({ group: "Output", help: "go on where an earlier run ended" }),
  force: flag({ short: "f", group: "Output", help: "replace the output" }),
  "dry-run": flag({ short: "n", group: "Output", help: "print the plan and write nothing" }),
  manifest: flag({ group: "Checks", help: "write manifest.json: BLAKE3 of each file and tensor" }),
  verify: choice({
    group: "Checks",
    choices: ["none", "sample", "full"],
    initial: "sample",
    help: "read the output back and compare",
  }),
  "missing-scale": choice({
    group: "Checks",
    choices: MISSING_SCALES,
    initial: "error",
    help: "FP8 tensors without scales: a fault, a scale of 1, or copied",
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

/** I/N. */
function part(described: { group: string; help: string }): Option<Part | undefined> {
  return { ...described, value: "I/N", initial: undefined, parse: (given, _previous, name) => parsePart(given, name) }
}

function planOptions(values: Values): Omit<PlanOptions, "kind"> {
  if (values["keep-dtypes"] && values["cast-all"])
    throw new UsageError("--keep-dtypes and --cast-all exclude each other")
  if (values.finish && values.part === undefined) throw new UsageError("--finish needs --part")
  if (values.resume && values.force) throw new UsageError("--resume and --force exclude each other")
  return {
    to: values.to,
    castAll: values["cast-all"],
    layout: values.layout,
    include: values.include,
    exclude: values.exclude,
    missingScale: values["missing-scale"],
    shardSize: values["shard-size"],
  }
}

/** A GGUF file becomes a folder, unless the output's name is that of a file. */
function outputKind({ gguf }: Checkpoint, output: string | undefined): PlanOptions["kind"] {
  return gguf !== undefined && output?.endsWith(".safetensors") ? "file" : "auto"
}

/** The plan, or the wanted part of it, with what it needs of this machine. */
async function measuredSummary(whole: Plan, values: Values): Promise<PlanSummary> {
  const plan = values.part === undefined ? whole : partOf(whole, values.part)
  const measure = measurePlan(plan, {
    threads: threadCount(values.threads),
    maxMemory: values["max-memory"],
    ...(await chooseIo(values.io, plan, values.output)),
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
  // Measured before anything is made, so that a memory limit that cannot be kept refuses at once.
  const summary = await measuredSummary(plan, values)
  if (ui.verbose) for (const line of describePlan(summary)) ui.detail(line)
  const progress = createProgress(ui.progress, ui.color, workLine(summary))
  try {
    return await withSignals((signal) =>
      runPlan(plan, {
        output,
        part: values.part,
        finish: values.finish,
        force: values.force,
        resume: values.resume,
        manifest: values.manifest,
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
    positionals: [
      { name: "path", help: "file.safetensors, file.gguf, HF folder or its index.json", completes: "path" },
    ],
    options,
    json: true,
    notes: [
      "--layout auto gives packed experts the form that their stored names ask for, and GGUF models that of transformers where it is known.",
      "SIZE is a number with k, M, G (powers of 1000) or Ki, Mi, Gi (powers of 1024).",
      "A GLOB knows * (also over dots), ?, [a-z] and {a,b}.",
      [
        "The output appears under its name when it is complete and checked;",
        "a run that fails or is interrupted removes what it wrote.",
      ].join(" "),
      [
        "With --resume it keeps the shards that it has finished, and goes on with those of an earlier run of the same",
        "source, options and version, a killed one too, after it has checked them.",
      ].join(" "),
      [
        "Parts may run at once, in any order, on machines that share the folder; each says when it is done, and finish (or",
        "with --finish the part that ends last) gives the output its names when all are.",
      ].join(" "),
    ],
    examples: [
      { line: "dequantizer convert gpt-oss-20b/ -o gpt-oss-20b-bf16/", what: "a folder" },
      {
        line: "dequantizer convert gpt-oss-20b/ -o out/ --part 2/4 --resume --finish",
        what: "a quarter, on one of four machines",
      },
      { line: "dequantizer convert gpt-oss-20b/ -o out/ --to f32 --shard-size 5GB -n", what: "only the plan of it" },
    ],
  },
  async ({ values, positionals, globals, ui }) => {
    const planned = planOptions(values)
    const { output } = values
    if (output === undefined && !values["dry-run"]) throw new UsageError("-o is missing: where should the output go?")
    const checkpoint = await openCheckpoint(positionals[0] ?? "")
    const plan = planConversion(checkpoint, { ...planned, kind: outputKind(checkpoint, output) })
    useLevel(globals)
    if (values["dry-run"] || output === undefined) {
      await dryRun(plan, values, ui)
      return undefined
    }
    const report = await convert(plan, output, values, ui)
    if (report.directRefused !== undefined) {
      const file = escapeText(report.directRefused)
      ui.note(`note: ${file}: its file system cannot be read or written around the page cache, which was used`)
    }
    if (report.wasComplete && !ui.quiet) ui.note("note: the output was complete, and of this source and these options")
    // Only now: a failure is one line, and notes of a plan that failed help no one.
    if (!ui.verbose) for (const note of planNotes(plan)) ui.note(`note: ${note}`)
    if (report.nonFinite.count > 0 && values["non-finite"] !== "allow") {
      const first =
        report.nonFinite.tensor === undefined ? "" : `, the first in tensor ${quote(report.nonFinite.tensor)}`
      ui.warn(`${formatPlural(report.nonFinite.count, "result")} NaN or infinite${first}`)
    }
    if (ui.json) print(`${JSON.stringify(reportJson(report))}\n`)
    else if (!ui.quiet) printLines(reportLines(output, report, plan, ui.paint))
    return undefined
  },
)
