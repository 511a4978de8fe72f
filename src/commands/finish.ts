/** `finish`: completes an output that was made in parts. */
import { escapeText } from "../containers/quote.ts"
import { formatBytesExact, formatPlural, formatSeconds } from "../format.ts"
import { command } from "../ui/command.ts"
import { choice } from "../ui/option.ts"
import { createProgress } from "../ui/progress.ts"
import { withSignals } from "../ui/signals.ts"
import { renderFacts } from "../ui/table.ts"
import { print, printLines } from "../ui/terminal.ts"
import { finishParts } from "../writer/finish.ts"
import type { FinishReport } from "../writer/types.ts"
import { useLevel } from "./level.ts"
import { threadCount, workOptions } from "./work-options.ts"

const options = {
  verify: choice({
    choices: ["none", "full"],
    initial: "full",
    help: "read all files and compare them with the checksums of their parts",
  }),
  ...workOptions,
} as const

function reportLines(output: string, report: FinishReport): (readonly [string, string])[] {
  const checked =
    report.bytesChecked > 0 ? `${formatBytesExact(report.bytesChecked)} against the parts' checksums` : "no"
  return [
    ["output", escapeText(output)],
    ["size", `${formatBytesExact(report.bytes)} in ${formatPlural(report.files.length, "file")}`],
    ["parts", report.parts === 0 ? "none left: it was complete" : String(report.parts)],
    ["checked", checked],
    ["time", formatSeconds(report.seconds)],
  ]
}

function toJson(report: FinishReport): unknown {
  const { count, tensor } = report.nonFinite
  return {
    schema: 1,
    output: report.output,
    files: report.files,
    parts: report.parts,
    bytes: report.bytes,
    bytes_checked: report.bytesChecked,
    non_finite: report.parts === 0 ? null : { count, tensor: tensor ?? null },
    seconds: report.seconds,
  }
}

export default command(
  {
    name: "finish",
    summary: "complete an output that was made in parts",
    usage: "<dir> [options]",
    positionals: [{ name: "dir", help: "the output that convert --part has written to", completes: "path" }],
    options,
    json: true,
    notes: [
      [
        "All parts must be there, done, and made of one source with the same options by one version; otherwise nothing is",
        "touched, and the exit status is 6. The source is not needed. Finishing again what is finished does nothing.",
      ].join(" "),
    ],
    examples: [{ line: "dequantizer finish gpt-oss-20b-bf16/", what: "after convert --part 1/4 to 4/4" }],
  },
  async ({ values, positionals, globals, ui }) => {
    const output = positionals[0] ?? ""
    const threads = threadCount(values.threads)
    useLevel(globals)
    const progress = createProgress(ui.progress, ui.color)
    const report = await withSignals((signal) =>
      finishParts(output, {
        verify: values.verify,
        threads,
        maxMemory: values["max-memory"],
        io: values.io,
        onProgress: (event) => progress.update(event),
        signal,
      }),
    ).finally(() => progress.close())
    if (ui.json) print(`${JSON.stringify(toJson(report))}\n`)
    else if (!ui.quiet) printLines(renderFacts(reportLines(output, report), { paintName: ui.paint.faint }))
    return undefined
  },
)
