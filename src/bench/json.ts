/** The rows of a benchmark as one JSON object: bytes, seconds, bytes per second. */
import type { MachineInfo } from "../native/machine.ts"
import type { BenchRow } from "./row.ts"

/** Where, by what and when rows were measured. */
export interface BenchSetting {
  readonly version: string
  readonly machine: MachineInfo
  /** Of measuring, for each kind. */
  readonly seconds: number
  readonly date: Date
}

export function benchJson(rows: readonly BenchRow[], { version, machine, seconds, date }: BenchSetting): unknown {
  return {
    schema: 1,
    version,
    date: date.toISOString(),
    seconds_per_kind: seconds,
    machine: {
      cpu: machine.cpu,
      level: machine.level,
      cores_allowed: machine.coresAllowed,
      threads: machine.threads,
      numa_nodes: machine.nodes,
      memory_total_bytes: machine.memoryTotal,
    },
    rows: rows.map(rowJson),
  }
}

function rowJson(row: BenchRow): unknown {
  const { seconds } = row
  return {
    kind: row.kind,
    ...labelsJson(row),
    runs: seconds.count,
    seconds_median: seconds.median,
    seconds_mad: seconds.mad,
    seconds_min: seconds.min,
    seconds_max: seconds.max,
    bytes_read: row.bytesRead,
    bytes_written: row.bytesWritten,
    bytes_per_second: row.bytesPerSecond,
    limits: row.limits.map(({ name, bytesPerSecond, share }) => ({ name, bytes_per_second: bytesPerSecond, share })),
  }
}

function labelsJson(row: BenchRow): object {
  switch (row.kind) {
    case "stream":
      return { access: row.access, threads: row.threads }
    case "decode":
      return {
        codec: row.codec,
        to: row.dtype,
        layout: row.transposed ? "transposed" : "rows",
        level: row.level,
        threads: row.threads,
        values_per_second: row.valuesPerSecond,
      }
    case "matvec":
      return {
        codec: row.codec,
        rows: row.rows,
        columns: row.columns,
        arithmetic: row.arithmetic,
        level: row.level,
        threads: row.threads,
        workers: row.workers,
        flop_per_second: row.operationsPerSecond,
      }
    case "convert":
      return { source: row.source, place: row.place, io: row.io, threads: row.threads }
  }
}
