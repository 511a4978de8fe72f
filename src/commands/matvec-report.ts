/** What `matvec` prints. */
import { escapeText } from "../containers/quote.ts"
import { formatBytes, formatPlural, formatRate } from "../format.ts"
import type { Matrix } from "../matrix/matrix.ts"
import type { Accuracy } from "../matrix/measure.ts"
import { renderFacts, renderTable } from "../ui/table.ts"
import type { Palette } from "../ui/terminal.ts"
import type { MatvecResult } from "./matvec.ts"

/** Results that are printed. */
const SHOWN = 8

export function matvecLines(result: MatvecResult, paint: Palette): string[] {
  const { matrix, x, y, speed, accuracy } = result
  const { facts } = matrix
  const batch = x.length / facts.columns
  const experts = facts.experts > 1 ? ` × ${formatPlural(facts.experts, "expert")}` : ""
  const bits = (facts.packedBytes * 8) / (facts.rows * facts.columns)
  const share = ((100 * speed.bytesPerSecond) / speed.readLimit).toFixed(0)
  return renderFacts(
    [
      ["weight", `${escapeText(facts.name)}  ${facts.rows} × ${facts.columns}${experts}`],
      ["tiles", `${codecText(facts)}, ${formatBytes(facts.packedBytes)} a matrix (${bits.toFixed(2)} bits a weight)`],
      ["arithmetic", arithmeticText(result)],
      ["workers", `${facts.workers} of ${formatPlural(facts.threads, "thread")}, level ${facts.level}`],
      [`y[0..${Math.min(SHOWN, y.length)}]`, Array.from(y.subarray(0, SHOWN), shownNumber).join("  ")],
      [
        "time",
        `${microseconds(speed.median)} median, ${microseconds(speed.p99)} p99 of ${speed.count}${batchText(batch)}`,
      ],
      [
        "weights",
        `${formatRate(speed.bytesPerSecond, 1)}, ${share} % of the ${formatRate(speed.readLimit, 1)} that memory gives`,
      ],
      ["compute", `${(speed.operationsPerSecond / 1e9).toFixed(1)} Gflop/s`],
      ...(accuracy === undefined ? [] : [["check", accuracyLines(accuracy, result)] as const]),
    ],
    { paintName: paint.faint },
  )
}

function codecText({ codec, storedCodec }: Matrix["facts"]): string {
  return codec === storedCodec ? codec : `${codec}, rounded from ${storedCodec}`
}

function accuracyLines({ relativeError, bound, storedError }: Accuracy, { matrix }: MatvecResult): string[] {
  const { experts, storedCodec } = matrix.facts
  const worst = experts > 1 ? `, the largest of ${formatPlural(experts, "expert")}` : ""
  const limit = `bound ${bound.toExponential(2)}`
  return [
    `relative error ${relativeError.toExponential(2)} against f64 (${limit})${worst}`,
    ...(storedError === undefined
      ? []
      : [`relative error ${storedError.toExponential(2)} against f64 of the ${storedCodec} weight, not rounded`]),
  ]
}

function arithmeticText({ matrix, arithmetic }: MatvecResult): string {
  const { measured } = matrix.facts
  if (measured === undefined) return arithmetic
  return `${arithmetic}, chosen: float ${microseconds(measured.float)}, int8 ${microseconds(measured.int8)}`
}

function batchText(batch: number): string {
  return batch === 1 ? "" : `, ${batch} vectors at once`
}

function shownNumber(value: number): string {
  return Number(value.toPrecision(6)).toString()
}

function microseconds(seconds: number): string {
  return seconds < 1e-3 ? `${(seconds * 1e6).toFixed(1)} µs` : `${(seconds * 1e3).toFixed(3)} ms`
}

/** Which worker has which rows, in the memory of which node. */
export function shareLines(matrix: Matrix): string[] {
  const columns = [
    { title: "WORKER", align: "right" },
    { title: "CPU", align: "right" },
    { title: "NODE", align: "right" },
    { title: "ROWS" },
    { title: "TILES", align: "right" },
  ] as const
  const rows = matrix
    .shares()
    .map((share, worker) => [
      String(worker),
      share.cpu === undefined ? "any" : String(share.cpu),
      String(share.node),
      share.rows.map(({ begin, end }) => `${begin} to ${end - 1}`).join(", "),
      formatBytes(share.memoryBytes),
    ])
  return renderTable(columns, rows)
}

/** A sentence where memory that should be next to its worker cannot be bound there. */
export function bindingRefusal(matrix: Matrix): string | undefined {
  for (const { binding, node } of matrix.shares()) {
    if (typeof binding === "string") continue
    return `memory cannot be bound to node ${node} (${binding.refused}): it is where each worker's first write put it`
  }
  return undefined
}

export function matvecJson(result: MatvecResult): unknown {
  const { matrix, x, y, speed, accuracy } = result
  const { facts } = matrix
  return {
    schema: 1,
    weight: facts.name,
    scheme: facts.scheme,
    rows: facts.rows,
    columns: facts.columns,
    experts: facts.experts,
    expert: result.expert ?? null,
    codec: facts.codec,
    stored_codec: facts.storedCodec,
    packed_bytes: facts.packedBytes,
    non_finite: facts.nonFiniteCount,
    batch: x.length / facts.columns,
    activation: result.activation,
    arithmetic: result.arithmetic,
    measured_seconds: facts.measured ?? null,
    level: facts.level,
    threads: facts.threads,
    workers: matrix.shares().map((share) => ({
      rows: share.rows.map(({ begin, end }) => [begin, end]),
      bytes: share.memoryBytes,
      node: share.node,
      cpu: share.cpu ?? null,
      bound: share.binding === "bound",
    })),
    y: Array.from(y.subarray(0, SHOWN)),
    count: speed.count,
    seconds_median: speed.median,
    seconds_p99: speed.p99,
    seconds_best: speed.best,
    bytes_per_second: speed.bytesPerSecond,
    read_limit_bytes_per_second: speed.readLimit,
    flop_per_second: speed.operationsPerSecond,
    relative_error: accuracy?.relativeError ?? null,
    relative_error_bound: accuracy?.bound ?? null,
    relative_error_stored: accuracy?.storedError ?? null,
  }
}
