/** `verify`: compares a converted checkpoint with its source, or checks the structure of one that stands alone. */
import { escapeText } from "../containers/quote.ts"
import { CheckError, UsageError } from "../errors.ts"
import { formatBytesExact, formatInteger, formatPlural, formatSeconds } from "../format.ts"
import { command } from "../ui/command.ts"
import { flag, integer, type OptionValues, text } from "../ui/option.ts"
import { createProgress } from "../ui/progress.ts"
import { withSignals } from "../ui/signals.ts"
import { renderFacts } from "../ui/table.ts"
import { print, printLines } from "../ui/terminal.ts"
import { describeMismatch, SAMPLE_TILES } from "../writer/compare.ts"
import type { VerifyReport } from "../writer/types.ts"
import { verifyOutput } from "../writer/verify.ts"
import { comparedText } from "./compared.ts"
import { useLevel } from "./level.ts"
import { threadCount, workOptions } from "./work-options.ts"

const SAMPLE_MAX = 1_000_000

const options = {
  source: text({ value: "PATH", completes: "path", help: "the checkpoint that the output was made from" }),
  full: flag({ help: "compare every element, and all other files" }),
  sample: integer({
    value: "N",
    min: 1,
    max: SAMPLE_MAX,
    initial: undefined,
    defaultText: String(SAMPLE_TILES),
    help: "compare N tiles of each tensor",
  }),
  manifest: flag({ help: "compare the hashes of all files with manifest.json" }),
  ...workOptions,
} as const

type Values = OptionValues<typeof options>

function sampleOf(values: Values): number | "all" {
  if (values.full && values.sample !== undefined) throw new UsageError("--full and --sample exclude each other")
  if (values.source === undefined && (values.full || values.sample !== undefined)) {
    throw new UsageError(
      `--${values.full ? "full" : "sample"} needs --source: without it only the structure is checked`,
    )
  }
  return values.full ? "all" : (values.sample ?? SAMPLE_TILES)
}

/** The one line of a check that failed; undefined where all is well. */
function failureLine(output: string, report: VerifyReport): string | undefined {
  const [problem] = report.problems
  if (problem !== undefined) {
    const more = report.problems.length > 1 ? ` (and ${formatPlural(report.problems.length - 1, "other problem")})` : ""
    return `${escapeText(output)}: ${problem}${more}`
  }
  if (report.first !== undefined) {
    return `${escapeText(output)}: ${describeMismatch(report.first, report.mismatchCount)}`
  }
  return report.ok ? undefined : `${escapeText(output)}: differs from its source`
}

function reportLines(
  output: string,
  source: string | undefined,
  report: VerifyReport,
): readonly (readonly [string, string | readonly string[]])[] {
  const { manifest } = report
  const compared = source === undefined ? "no values: there is no --source" : comparedText(report)
  return [
    ["output", escapeText(output)],
    ...(source === undefined ? [] : [["source", escapeText(source)] as const]),
    ["tensors", formatInteger(report.tensors)],
    ["compared", compared],
    ...(manifest === undefined ? [] : [["manifest", manifestLine(manifest)] as const]),
    ["time", formatSeconds(report.seconds)],
    ...(report.problems.length > 0 ? [["problems", report.problems.map(escapeText)] as const] : []),
    ["result", resultWord(source, report)],
  ]
}

function manifestLine({ files, bytes }: NonNullable<VerifyReport["manifest"]>): string {
  return `${formatPlural(files, "file")}, ${formatBytesExact(bytes)} hashed`
}

function resultWord(source: string | undefined, { ok, manifest }: VerifyReport): string {
  if (!ok) return "NOT EQUAL"
  if (source !== undefined) return "equal, bit for bit"
  return manifest === undefined ? "the structure is sound" : "every byte is as the manifest says"
}

function toJson(output: string, source: string | undefined, report: VerifyReport): unknown {
  const { first } = report
  return {
    schema: 1,
    output,
    source: source ?? null,
    ok: report.ok,
    problems: report.problems,
    tensors: report.tensors,
    elements_compared: report.elementsCompared,
    elements_total: report.elementsTotal,
    mismatches: report.mismatchCount,
    first_mismatch:
      first === undefined
        ? null
        : {
            tensor: first.tensor,
            index: first.index,
            dtype: first.dtype,
            found_bits: first.found,
            expected_bits: first.expected,
          },
    manifest: report.manifest === undefined ? null : { files: report.manifest.files, bytes: report.manifest.bytes },
    seconds: report.seconds,
  }
}

export default command(
  {
    name: "verify",
    summary: "check an output against its source, or a file's structure",
    usage: "<output> [--source <path>] [options]",
    positionals: [{ name: "output", help: "what convert wrote", completes: "path" }],
    options,
    json: true,
    notes: [
      [
        "N tiles are spread evenly over a tensor, its start and its end among them.",
        "The source is decoded again by the scalar code, which shares no kernel with the conversion,",
        "and compared bit for bit.",
        "A mismatch names the tensor, the index, what was expected and what was found, and exits with 1.",
      ].join(" "),
      [
        "--manifest needs no source: convert --manifest has written the BLAKE3 of each file and tensor;",
        "b3sum prints the same of a file.",
      ].join(" "),
    ],
    examples: [
      { line: "dequantizer verify gpt-oss-20b-bf16/ --source gpt-oss-20b/ --full", what: "every element" },
      { line: "dequantizer verify gpt-oss-20b-bf16/ --manifest", what: "every byte, without the source" },
      { line: "dequantizer verify model.safetensors", what: "headers, shapes and sizes of a file alone" },
    ],
  },
  async ({ values, positionals, globals, ui }) => {
    const output = positionals[0] ?? ""
    const sample = sampleOf(values)
    const threads = threadCount(values.threads)
    if (values.source !== undefined || values.manifest) useLevel(globals)
    const progress = createProgress(ui.progress, ui.color)
    const report = await withSignals((signal) =>
      verifyOutput(output, {
        source: values.source,
        sample,
        manifest: values.manifest,
        threads,
        maxMemory: values["max-memory"],
        io: values.io,
        onProgress: (event) => progress.update(event),
        signal,
      }),
    ).finally(() => progress.close())
    if (ui.json) print(`${JSON.stringify(toJson(output, values.source, report))}\n`)
    else if (!ui.quiet)
      printLines(renderFacts(reportLines(output, values.source, report), { paintName: ui.paint.faint }))
    const failure = failureLine(output, report)
    if (failure !== undefined) throw new CheckError(failure)
    return undefined
  },
)
