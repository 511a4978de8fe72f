/** The rows of a benchmark as text: a table for each kind. */
import { formatBytes } from "../format.ts"
import { type Column, renderTable } from "../ui/table.ts"
import type { Palette } from "../ui/terminal.ts"
import { ACCESS_WORDS } from "./memory.ts"
import { BENCH_KINDS, type BenchKind, type BenchRow, type DecodeRow, type LimitName, type StreamRow } from "./row.ts"

/** A column of one kind's table. */
interface Field<R extends BenchRow> extends Column {
  readonly text: (row: R) => string
}

const gigabytes = (bytesPerSecond: number): string => (bytesPerSecond / 1e9).toFixed(1)

/** How far passes lie from their median: half of them nearer than this. */
function spreadText({ seconds }: BenchRow): string {
  return `${((100 * seconds.mad) / seconds.median).toFixed(1)} %`
}

const timeFields = [
  { title: "TIME", align: "right", text: ({ seconds }) => secondsText(seconds.median) },
  { title: "±", align: "right", text: spreadText },
  { title: "RUNS", align: "right", text: ({ seconds }) => String(seconds.count) },
] as const satisfies readonly Field<BenchRow>[]

const rateField = {
  title: "GB/S",
  align: "right",
  text: ({ bytesPerSecond }) => gigabytes(bytesPerSecond),
} as const satisfies Field<BenchRow>

/** Of a limit, in percent. */
function shareField(title: string, name: LimitName): Field<BenchRow> {
  return {
    title,
    align: "right",
    text: ({ limits }) => {
      const limit = limits.find((one) => one.name === name)
      return limit === undefined ? "–" : `${(100 * limit.share).toFixed(0)} %`
    },
  }
}

const streamFields: readonly Field<StreamRow>[] = [
  { title: "THREADS", align: "right", text: ({ threads }) => String(threads) },
  { title: "ACCESS", text: ({ access }) => ACCESS_WORDS[access] },
  rateField,
  ...timeFields,
]

const decodeFields: readonly Field<DecodeRow>[] = [
  { title: "CODEC", text: ({ codec }) => codec },
  { title: "TO", text: ({ dtype }) => dtype },
  { title: "LAYOUT", text: ({ transposed }) => (transposed ? "transposed" : "rows") },
  { title: "LEVEL", text: ({ level }) => level },
  { title: "THREADS", align: "right", text: ({ threads }) => String(threads) },
  { title: "G/S", align: "right", text: ({ valuesPerSecond }) => (valuesPerSecond / 1e9).toFixed(2) },
  rateField,
  shareField("OF COPY", "copy"),
  shareField("OF WRITE", "write"),
  ...timeFields,
]

/** Three digits of a time: "812 ns", "1.24 µs", "12.3 ms", "1.24 s". */
export function secondsText(seconds: number): string {
  const units = [
    [1, "s"],
    [1e-3, "ms"],
    [1e-6, "µs"],
    [1e-9, "ns"],
  ] as const
  const [scale, unit] = units.find(([size]) => seconds >= size * 0.9995) ?? units[3]
  const value = seconds / scale
  return `${value >= 99.95 ? value.toFixed(0) : value >= 9.995 ? value.toFixed(1) : value.toFixed(2)} ${unit}`
}

const HEADINGS = {
  stream: "memory",
  decode: "decoding, from memory to memory",
} as const satisfies Record<BenchKind, string>

function tableOf<R extends BenchRow>(fields: readonly Field<R>[], rows: readonly R[], paint: Palette): string[] {
  const cells = rows.map((row) => fields.map((field) => field.text(row)))
  return renderTable(fields, cells, { paintTitle: paint.faint })
}

function kindTable(kind: BenchKind, rows: readonly BenchRow[], paint: Palette): string[] {
  switch (kind) {
    case "stream":
      return tableOf(
        streamFields,
        rows.filter((row) => row.kind === "stream"),
        paint,
      )
    case "decode":
      return tableOf(
        decodeFields,
        rows.filter((row) => row.kind === "decode"),
        paint,
      )
  }
}

/** What a table does not say itself. */
function kindNotes(kind: BenchKind, rows: readonly BenchRow[]): string[] {
  const first = rows.find((row) => row.kind === kind)
  if (first?.kind === "decode") {
    const [copy, write] = first.limits.map(({ bytesPerSecond }) => `${gigabytes(bytesPerSecond)} GB/s`)
    return [`limits, with as many threads: a copy around the caches ${copy}, writes around them ${write}`]
  }
  if (first?.kind === "stream") return [`${formatBytes(first.bytesRead)} a pass`]
  return []
}

export function benchLines(rows: readonly BenchRow[], paint: Palette): string[] {
  return BENCH_KINDS.filter((kind) => rows.some((row) => row.kind === kind)).flatMap((kind, i) => [
    ...(i === 0 ? [] : [""]),
    paint.heading(HEADINGS[kind]),
    ...kindTable(kind, rows, paint),
    ...kindNotes(kind, rows).map((note) => paint.faint(note)),
  ])
}
