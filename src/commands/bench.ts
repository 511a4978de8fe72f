/** `bench`: how fast this machine reads, decodes, multiplies and converts, beside what it could do at the most. */
import { CODECS } from "../bench/decode.ts"
import { benchJson } from "../bench/json.ts"
import { BENCH_KINDS, type BenchKind } from "../bench/row.ts"
import { runBench } from "../bench/run.ts"
import { benchLines } from "../bench/table.ts"
import { escapeText } from "../containers/quote.ts"
import { UsageError } from "../errors.ts"
import { machineInfo } from "../native/machine.ts"
import type { ValueCodec } from "../native/stream.ts"
import { nearest } from "../nearest.ts"
import { command } from "../ui/command.ts"
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
    help: "what is measured: memory, decoding",
  }),
  codec: text({ value: "CODEC", help: "only this codec, in every way that it is decoded" }),
  time: duration({ initial: 3, defaultText: "3s", help: "time of measuring for each kind" }),
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

export default command(
  {
    name: "bench",
    summary: "decode, matvec and I/O speed against this machine's limits",
    usage: "[options]",
    positionals: [],
    options,
    json: true,
    notes: [
      "GB/S counts bytes read and written. OF COPY is the part of what a copy with stores around the caches does, OF WRITE the part of what such stores alone write: by the same threads, in turns with the row's own passes, the median over all turns. TIME is the median of RUNS passes, ± the median distance from it.",
      "--kind decode measures every codec; with --codec that one to every dtype, as stored and transposed, at every level of this CPU.",
      "Use it on a machine that does nothing else.",
    ],
    examples: [
      { line: "dequantizer bench", what: "all kinds" },
      { line: "dequantizer bench --kind decode --codec mxfp4", what: "one codec in every way" },
      { line: "dequantizer bench --json > bench.json", what: "for machines" },
    ],
  },
  async ({ values, globals, ui }) => {
    const codec = parseCodec(values.codec)
    useLevel(globals)
    const kinds: readonly BenchKind[] = values.kind === "all" ? BENCH_KINDS : [values.kind]
    const progress = createProgress(ui.progress, ui.color)
    const level = globals.level ?? process.env.DQ_LEVEL
    const rows = await withSignals((signal) =>
      runBench({
        kinds,
        codec,
        threads: threadCount(values.threads),
        level: level === "" ? undefined : level,
        seconds: values.time,
        onProgress: ({ done, total, name }) =>
          progress.update({ phase: "measure", unit: "rows", bytesDone: done, bytesTotal: total, tensor: name }),
        signal,
      }),
    ).finally(() => progress.close())
    const setting = { version: VERSION, machine: machineInfo(), seconds: values.time, date: new Date() }
    if (ui.json) print(`${JSON.stringify(benchJson(rows, setting))}\n`)
    else printLines(benchLines(rows, ui.paint))
    return undefined
  },
)
