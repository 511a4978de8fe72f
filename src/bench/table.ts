/** The rows of a benchmark as text: a table for each kind. */
import { escapeText } from "../containers/quote.ts"
import { formatBytes } from "../format.ts"
import { type Column, renderTable } from "../ui/table.ts"
import type { Palette } from "../ui/terminal.ts"
import { ACCESS_WORDS } from "./memory.ts"
import {
  BENCH_KINDS,
  type BenchKind,
  type BenchRow,
  type ConvertRow,
  type DecodeRow,
  type LimitName,
  type MatvecRow,
  type StreamRow,
} from "./row.ts"

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

const matvecFields: readonly Field<MatvecRow>[] = [
  { title: "WEIGHT", text: ({ codec }) => codec },
  { title: "SHAPE", text: ({ rows, columns }) => `${rows} × ${columns}` },
  { title: "SIZE", align: "right", text: ({ bytesRead }) => formatBytes(bytesRead) },
  { title: "ARITHMETIC", text: ({ arithmetic }) => arithmetic },
  { title: "LEVEL", text: ({ level }) => level },
  { title: "THREADS", align: "right", text: threadsText },
  { title: "GFLOP/S", align: "right", text: ({ operationsPerSecond }) => (operationsPerSecond / 1e9).toFixed(1) },
  rateField,
  shareField("OF READ", "read"),
  ...timeFields,
]

/** "1 of 2" where a weight is too small for all threads. */
function threadsText({ threads, workers }: MatvecRow): string {
  return workers === threads ? String(threads) : `${workers} of ${threads}`
}

const convertFields: readonly Field<ConvertRow>[] = [
  { title: "SOURCE", text: ({ source }) => escapeText(source) },
  { title: "READ", align: "right", text: ({ bytesRead }) => formatBytes(bytesRead) },
  { title: "WRITTEN", align: "right", text: ({ bytesWritten }) => formatBytes(bytesWritten) },
  { title: "PLACE", text: ({ place }) => place },
  { title: "I/O", text: ({ io }) => io },
  { title: "THREADS", align: "right", text: ({ threads }) => String(threads) },
  rateField,
  shareField("OF CP", "cp"),
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

export const HEADINGS = {
  stream: "memory",
  decode: "decoding, from memory to memory",
  matvec: "products of weights as they are stored",
  convert: "conversion to BF16",
} as const satisfies Record<BenchKind, string>

/** A table as text: what a terminal and a page show. */
export interface Cells {
  readonly columns: readonly Column[]
  readonly cells: readonly (readonly string[])[]
}

function cellsBy<R extends BenchRow>(columns: readonly Field<R>[], rows: readonly R[]): Cells {
  return { columns, cells: rows.map((row) => columns.map((field) => field.text(row))) }
}

/** The rows of one kind. */
export function cellsOf(kind: BenchKind, rows: readonly BenchRow[]): Cells {
  const of = <K extends BenchKind>(one: K) =>
    rows.filter((row): row is Extract<BenchRow, { kind: K }> => row.kind === one)
  switch (kind) {
    case "stream":
      return cellsBy(streamFields, of("stream"))
    case "decode":
      return cellsBy(decodeFields, of("decode"))
    case "matvec":
      return cellsBy(matvecFields, of("matvec"))
    case "convert":
      return cellsBy(convertFields, of("convert"))
  }
}

const LIMIT_WORDS: Readonly<Record<LimitName, string>> = {
  copy: "a copy around the caches",
  write: "writes around the caches",
  read: "reading",
  cp: "a copy of the output",
}

/** What a table does not say itself. */
export function notesOf(kind: BenchKind, rows: readonly BenchRow[]): string[] {
  const first = rows.find((row) => row.kind === kind)
  if (first?.kind === "decode") {
    const limits = first.limits.map(
      ({ name, bytesPerSecond }) => `${LIMIT_WORDS[name]} ${gigabytes(bytesPerSecond)} GB/s`,
    )
    return [`limits, with as many threads: ${limits.join(", ")}`]
  }
  if (first?.kind === "matvec") {
    const rates = rows.flatMap((row) => (row.kind === "matvec" ? row.limits.map((limit) => limit.bytesPerSecond) : []))
    return [`limit: memory read by as many threads, up to ${gigabytes(Math.max(...rates))} GB/s; caches give more`]
  }
  if (first?.kind === "convert")
    return ["OF CP: output written in a second, by what a copy of it by one thread writes; both are flushed"]
  if (first?.kind === "stream") return [`${formatBytes(first.bytesRead)} a pass`]
  return []
}

export function benchLines(rows: readonly BenchRow[], paint: Palette): string[] {
  return BENCH_KINDS.filter((kind) => rows.some((row) => row.kind === kind)).flatMap((kind, i) => {
    const { columns, cells } = cellsOf(kind, rows)
    return [
      ...(i === 0 ? [] : [""]),
      paint.heading(HEADINGS[kind]),
      ...renderTable(columns, cells, { paintTitle: paint.faint }),
      ...notesOf(kind, rows).map((note) => paint.faint(note)),
    ]
  })
}
