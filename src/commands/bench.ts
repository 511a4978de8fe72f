/** `bench`: how fast this machine reads, decodes, multiplies and converts, beside what it could do at the most. */
import { CODECS } from "../bench/decode.ts"
import { benchJson } from "../bench/json.ts"
import { PageFile } from "../bench/page/file.ts"
import { benchPage, benchPicture } from "../bench/page/page.ts"
import { BENCH_KINDS, type BenchKind, type BenchRow } from "../bench/row.ts"
import { type BenchOptions, type BenchProgress, checkBench, runBench, type Shape } from "../bench/run.ts"
import { benchLines } from "../bench/table.ts"
import { escapeText } from "../containers/quote.ts"
import { UsageError } from "../errors.ts"
import { machineInfo } from "../native/machine.ts"
import type { ValueCodec } from "../native/stream.ts"
import { nearest } from "../nearest.ts"
import { command } from "../ui/command.ts"
import type { Ui } from "../ui/globals.ts"
import { choice, duration, text } from "../ui/option.ts"
import { createProgress } from "../ui/progress.ts"
import { withSignals } from "../ui/signals.ts"
import { print, printLines } from "../ui/terminal.ts"
import { VERSION } from "../version.ts"
import { useLevel } from "./level.ts"
import { threadCount, workOptions } from "./work-options.ts"

const options = {
  kind: choice({
    choices: ["all", ...BENCH_KINDS],
    initial: "all",
    help: "what is measured: memory, decoding, products, conversion",
  }),
  codec: text({ value: "CODEC", help: "only this codec, in every way that it is decoded" }),
  shape: text({ value: "MxK", help: "rows and columns of a made-up weight that is multiplied" }),
  time: duration({ initial: 3, defaultText: "3s", help: "time of measuring for each kind" }),
  html: text({
    value: "FILE",
    completes: "path",
    help: "a page of charts and tables that needs no network; a name ending in .svg: the charts alone",
  }),
  threads: workOptions.threads,
} as const

function parseCodec(given: string | undefined): ValueCodec | undefined {
  if (given === undefined) return undefined
  const lower = given.toLowerCase()
  const found = CODECS.find((codec) => codec === lower)
  if (found !== undefined) return found
  const close = nearest(lower, CODECS)
  const hint = close === undefined ? `codecs: ${CODECS.join(", ")}` : `did you mean ${close}?`
  throw new UsageError(`--codec: "${escapeText(given)}" is no codec`, { hint })
}

/** More than any weight has. */
const EXTENT_MAX = 2 ** 20

function parseShape(given: string | undefined): Shape | undefined {
  if (given === undefined) return undefined
  const match = /^(\d{1,7})[x×](\d{1,7})$/i.exec(given)
  const [rows, columns] = [Number(match?.[1]), Number(match?.[2])]
  const fits = rows >= 1 && rows <= EXTENT_MAX && columns >= 32 && columns <= EXTENT_MAX && columns % 32 === 0
  if (fits) return { rows, columns }
  const wanted = `rows x columns such as 2880x2880, up to ${EXTENT_MAX}, columns a multiple of 32`
  throw new UsageError(`--shape: "${escapeText(given)}" is not ${wanted}`)
}

async function measure(wanted: Omit<BenchOptions, "onProgress" | "signal">, ui: Ui): Promise<BenchRow[]> {
  const progress = createProgress(ui.progress, ui.color)
  const onProgress = ({ done, total, name }: BenchProgress) =>
    progress.update({ phase: "measure", unit: "rows", bytesDone: done, bytesTotal: total, tensor: name })
  try {
    return await withSignals((signal) => runBench({ ...wanted, onProgress, signal }))
  } finally {
    progress.close()
  }
}

export default command(
  {
    name: "bench",
    summary: "decode, matvec and I/O speed against this machine's limits",
    usage: "[path] [options]",
    positionals: [
      {
        name: "path",
        help: "a checkpoint whose weights are multiplied and converted; absent: made-up ones",
        completes: "path",
        optional: true,
      },
    ],
    options,
    json: true,
    notes: [
      "GB/S counts bytes read and written. OF COPY is the part of what a copy with stores around the caches does, OF WRITE the part of what such stores alone write, OF READ of what reading gives, OF CP of a copy of the output by one thread: by the same threads, in turns with the row's own passes, the median over all turns. TIME is the median of RUNS passes, ± the median distance from it.",
      "--kind decode measures every codec; with --codec that one to every dtype, as stored and transposed, at every level of this CPU.",
      "Products and conversions are of made-up weights with the shapes of gpt-oss-20b, or of the weights at <path>: one of each kind, the largest four; conversions go to a temporary folder, in memory where there is room.",
      "Use it on a machine that does nothing else.",
    ],
    examples: [
      { line: "dequantizer bench", what: "all kinds" },
      { line: "dequantizer bench --kind decode --codec mxfp4", what: "one codec in every way" },
      { line: "dequantizer bench gpt-oss-20b/ --kind convert", what: "a checkpoint of your own" },
      { line: "dequantizer bench --html bench.html", what: "charts" },
      { line: "dequantizer bench --json > bench.json", what: "for machines" },
    ],
  },
  async ({ values, positionals, globals, ui }) => {
    const kinds: readonly BenchKind[] = values.kind === "all" ? BENCH_KINDS : [values.kind]
    const level = globals.level ?? process.env.DQ_LEVEL
    const wanted = {
      kinds,
      path: positionals[0],
      codec: parseCodec(values.codec),
      shape: parseShape(values.shape),
      threads: threadCount(values.threads),
      level: level === "" ? undefined : level,
      seconds: values.time,
    }
    checkBench(wanted)
    useLevel(globals)
    await using file = values.html === undefined ? undefined : await PageFile.create(values.html)
    const rows = await measure(wanted, ui)
    const setting = { version: VERSION, machine: machineInfo(), seconds: values.time, date: new Date() }
    await file?.write(file.isPicture ? benchPicture(rows, setting) : benchPage(rows, setting))
    if (ui.json) print(`${JSON.stringify(benchJson(rows, setting))}\n`)
    else if (!ui.quiet) printLines(benchLines(rows, ui.paint))
    return undefined
  },
)
