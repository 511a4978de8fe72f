/** The charts of a benchmark's rows; each is left out where it has nothing to show. */
import { ACCESS_WORDS } from "../memory.ts"
import type { BenchRow, DecodeRow, MatvecRow } from "../row.ts"
import { element, type Markup } from "./markup.ts"
import { COLOR_COUNT, legend, line, PANEL_WIDTH, type Panel, text, ticks, tickText } from "./panel.ts"

const LEFT = 205
const RIGHT = 100
const WIDTH = PANEL_WIDTH - LEFT - RIGHT

/** Bars of one label. */
interface Group {
  readonly label: string
  /** By the number of the series. */
  readonly bars: readonly { readonly series: number; readonly value: number; readonly words: string }[]
}

interface Bars {
  readonly title: string
  readonly description: string
  readonly unit: string
  readonly series: readonly string[]
  readonly groups: readonly Group[]
}

const BAR = 15

/** Horizontal bars in groups. */
function barPanel({ title, description, unit, series, groups }: Bars): Panel {
  const marks = ticks(Math.max(...groups.flatMap(({ bars }) => bars.map(({ value }) => value))))
  const scale = WIDTH / marks.at(-1)!
  const top = 34
  let at = top
  const rows = groups.flatMap(({ label, bars }): Markup[] => {
    const begin = at
    at += bars.length * BAR + 10
    return [
      text(LEFT - 10, begin + (bars.length * BAR) / 2 + 4, label, "end"),
      ...bars.flatMap(({ series: number, value, words }, i) => [
        element("rect", {
          x: LEFT,
          y: begin + i * BAR + 1,
          width: value * scale,
          height: BAR - 3,
          class: `b${number % COLOR_COUNT}`,
        }),
        text(LEFT + value * scale + 6, begin + i * BAR + 12, words, "start", "f"),
      ]),
    ]
  })
  const grid = marks.flatMap((mark) => [
    line(LEFT + mark * scale, top - 4, LEFT + mark * scale, at),
    text(LEFT + mark * scale, at + 16, tickText(mark), "middle", "f"),
  ])
  const content = [...grid, ...legend(LEFT, 18, series), ...rows, text(LEFT + WIDTH, at + 34, unit, "end", "f")]
  return { title, description, height: at + 42, content }
}

/** Bytes per second by the number of threads. */
function scalingPanel(rows: readonly BenchRow[]): Panel | undefined {
  const streams = rows.filter((row) => row.kind === "stream")
  const counts = [...new Set(streams.map(({ threads }) => threads))].toSorted((a, b) => a - b)
  if (counts.length === 0) return undefined
  const accesses = [...new Set(streams.map(({ access }) => access))]
  const title = "Memory by threads"
  const description = `${accesses.map((access) => ACCESS_WORDS[access]).join(", ")}: GB/s read and written`
  if (counts.length === 1) {
    const groups = streams.map(({ access, bytesPerSecond }) => ({
      label: ACCESS_WORDS[access],
      bars: [{ series: 0, value: bytesPerSecond / 1e9, words: (bytesPerSecond / 1e9).toFixed(1) }],
    }))
    return barPanel({ title, description, unit: "GB/s", series: [`${counts[0]} threads`], groups })
  }
  const [top, height] = [44, 220]
  const marks = ticks(Math.max(...streams.map(({ bytesPerSecond }) => bytesPerSecond / 1e9)))
  const span = counts.at(-1)! - counts[0]!
  const x = (threads: number) => 60 + ((threads - counts[0]!) / span) * (PANEL_WIDTH - 130)
  const y = (gigabytes: number) => top + height - (gigabytes / marks.at(-1)!) * height
  const lines = accesses.flatMap((access, i): Markup[] => {
    const points = streams
      .filter((row) => row.access === access)
      .toSorted((a, b) => a.threads - b.threads)
      .map((row) => [x(row.threads), y(row.bytesPerSecond / 1e9)] as const)
    const path = points.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join(" ")
    const color = i % COLOR_COUNT
    return [
      element("polyline", { points: path, class: `l${color}` }),
      ...points.map(([px, py]) => element("circle", { cx: px, cy: py, r: 4, class: `b${color}` })),
    ]
  })
  const content = [
    ...legend(
      20,
      18,
      accesses.map((access) => ACCESS_WORDS[access]),
    ),
    ...marks.flatMap((mark) => [
      line(60, y(mark), PANEL_WIDTH - 60, y(mark)),
      text(52, y(mark) + 4, tickText(mark), "end", "f"),
    ]),
    ...counts.map((count) => text(x(count), top + height + 18, String(count), "middle", "f")),
    text(PANEL_WIDTH - 20, top + height + 36, "threads; GB/s", "end", "f"),
    ...lines,
  ]
  return { title, description, height: top + height + 44, content }
}

/** Codecs that a chart has room for. */
const CODECS_MAX = 60

/** Values per second of each codec, by level. */
function decodePanel(rows: readonly BenchRow[]): Panel | undefined {
  const all = rows.filter((row) => row.kind === "decode")
  const threads = Math.max(0, ...all.map((row) => row.threads))
  const shown = all.filter((row) => row.threads === threads && row.dtype === "bf16" && !row.transposed)
  const levels = [...new Set(shown.map(({ level }) => level))]
  const codecs = [...new Set(shown.map(({ codec }) => codec))].slice(0, CODECS_MAX)
  if (shown.length === 0) return undefined
  const groups = codecs.map((codec) => ({
    label: codec,
    bars: shown
      .filter((row) => row.codec === codec)
      .map((row) => ({ series: levels.indexOf(row.level), value: row.valuesPerSecond / 1e9, words: decodeWords(row) })),
  }))
  return barPanel({
    title: `Decoding to BF16, from memory to memory, ${threads} threads`,
    description: `10⁹ values a second of ${codecs.length} codecs at the levels ${levels.join(", ")}, and how much of what memory takes is written`,
    unit: "10⁹ values a second",
    series: levels,
    groups,
  })
}

function decodeWords({ valuesPerSecond, limits }: DecodeRow): string {
  const write = limits.find(({ name }) => name === "write")
  const share = write === undefined ? "" : ` (${(100 * write.share).toFixed(0)} %)`
  return `${(valuesPerSecond / 1e9).toFixed(1)}${share}`
}

/** Products as a roofline: operations a second by operations for each byte of the weight. */
function rooflinePanel(rows: readonly BenchRow[]): Panel | undefined {
  const products = rows.filter((row) => row.kind === "matvec")
  if (products.length === 0) return undefined
  const threads = Math.max(...products.map((row) => row.threads))
  const shown = products.filter((row) => row.threads === threads)
  const memory = Math.max(...shown.map((row) => row.limits[0]!.bytesPerSecond)) / 1e9
  const intensity = (row: MatvecRow) => (2 * row.rows * row.columns) / row.bytesRead
  const best = Math.max(...shown.map((row) => row.operationsPerSecond / 1e9))
  const [x0, x1] = [0.25, 16]
  const [y0, y1] = [Math.max(0.01, memory * x0 * 0.5), Math.max(best, memory * x1) * 1.3]
  const [top, height, left, width] = [44, 280, 70, PANEL_WIDTH - 130]
  const x = (value: number) => left + (Math.log(value / x0) / Math.log(x1 / x0)) * width
  const y = (value: number) => top + height - (Math.log(value / y0) / Math.log(y1 / y0)) * height
  const clamp = (value: number) => Math.min(x1, Math.max(x0, value))
  const names = [...new Set(shown.map(pointName))]
  const xTicks = [0.25, 0.5, 1, 2, 4, 8, 16]
  const yTicks = [0.1, 1, 10, 100, 1000, 10_000].filter((value) => value >= y0 && value <= y1)
  const content = [
    ...legend(20, 18, names),
    ...xTicks.flatMap((mark) => [
      line(x(mark), top, x(mark), top + height),
      text(x(mark), top + height + 18, tickText(mark), "middle", "f"),
    ]),
    ...yTicks.flatMap((mark) => [
      line(left, y(mark), left + width, y(mark)),
      text(left - 8, y(mark) + 4, tickText(mark), "end", "f"),
    ]),
    element("line", { x1: x(x0), y1: y(memory * x0), x2: x(x1), y2: y(memory * x1), class: "roof" }),
    text(x(0.5), y(memory * 0.5) - 12, `memory ${memory.toFixed(1)} GB/s`, "middle", "f"),
    element("line", { x1: x(x0), y1: y(best), x2: x(x1), y2: y(best), class: "roof" }),
    text(left + 6, y(best) - 8, `best product ${best.toFixed(0)} Gflop/s`, "start", "f"),
    ...shown.map((row) =>
      element(
        "circle",
        {
          cx: x(clamp(intensity(row))),
          cy: y(row.operationsPerSecond / 1e9),
          r: 6,
          class: `b${names.indexOf(pointName(row)) % COLOR_COUNT}`,
        },
        element("title", {}, `${row.codec} ${row.rows} × ${row.columns}, ${row.arithmetic}, ${row.level}`),
      ),
    ),
    text(left + width, top + height + 36, "operations for each byte of the weight; Gflop/s", "end", "f"),
  ]
  return {
    title: `Products, roofline of ${threads} threads`,
    description: `${shown.length} products between the ${memory.toFixed(1)} GB/s that memory gives and the best of them; points above the slanted line come from caches`,
    height: top + height + 44,
    content,
  }
}

function pointName({ rows, columns, arithmetic }: MatvecRow): string {
  return `${arithmetic} ${rows} × ${columns}`
}

function convertPanel(rows: readonly BenchRow[]): Panel | undefined {
  const shown = rows.filter((row) => row.kind === "convert")
  if (shown.length === 0) return undefined
  const groups = shown.map((row) => {
    const written = row.bytesWritten / row.seconds.median / 1e9
    const cp = row.limits[0]!.bytesPerSecond / 1e9
    return {
      label: row.source.length > 26 ? `…${row.source.slice(-25)}` : row.source,
      bars: [
        { series: 0, value: written, words: written.toFixed(2) },
        { series: 1, value: cp, words: cp.toFixed(2) },
      ],
    }
  })
  return barPanel({
    title: "Conversion beside a copy of its output",
    description: "GB of output a second: converted to BF16, and copied by one thread; both flushed",
    unit: "GB written a second",
    series: ["convert", "copy of the output"],
    groups,
  })
}

/** All charts that the rows have something for. */
export function panelsOf(rows: readonly BenchRow[]): Panel[] {
  const panels = [scalingPanel(rows), rooflinePanel(rows), decodePanel(rows), convertPanel(rows)]
  return panels.filter((panel) => panel !== undefined)
}
