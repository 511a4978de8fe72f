/** How fast a matrix multiplies, beside what memory gives to the same workers in the same moments; and how exactly. */
import { MemoryStream } from "../native/stream.ts"
import type { Matrix, MultiplyOptions } from "./matrix.ts"

/** Bytes of a pass over memory: far beyond the caches, and short. */
const STREAM_BYTES = 128 * 2 ** 20
/** Products and passes over memory take turns so often. */
const ROUNDS = 7
/** Seconds that all products together may take where no number of them is given, and how many there are at least. */
const SECONDS_WANTED = 1
const COUNT_MIN = 10
const COUNT_MAX = 20_000

export interface Speed {
  /** Products that were timed. */
  readonly count: number
  /** Seconds of one product. */
  readonly median: number
  readonly p99: number
  readonly best: number
  /** Bytes per second: packed weights by the median product. */
  readonly bytesPerSecond: number
  /** What the workers read from memory at the most, by the median pass. */
  readonly readLimit: number
  /** Operations per second, a multiplication and an addition counting two. */
  readonly operationsPerSecond: number
}

export interface MeasureOptions extends MultiplyOptions {
  readonly threads: number
  readonly numa: boolean
  /** Products; absent: as many as take a second. */
  readonly count?: number | undefined
}

/** Times products of x; those of a stacked weight go round its experts, where none is given. */
export function measureSpeed(matrix: Matrix, x: Float32Array, options: MeasureOptions): Speed {
  const { threads, numa, count: wanted, ...product } = options
  const experts = options.expert === undefined ? matrix.facts.experts : 1
  const time = (index: number, count: number) =>
    matrix.time(x, count, { ...product, expert: options.expert ?? index % experts })
  const first = Math.min(...time(0, 2))
  const count = wanted ?? Math.min(COUNT_MAX, Math.max(COUNT_MIN, Math.ceil(SECONDS_WANTED / first)))
  using stream = new MemoryStream({ threads, numa, size: STREAM_BYTES })
  const passes: number[] = []
  const times: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    passes.push(Math.min(stream.measure("read"), stream.measure("read_interleaved")))
    const end = Math.round((count * (round + 1)) / ROUNDS)
    if (experts > 1) for (let i = times.length; i < end; i++) times.push(...time(i, 1))
    else if (end > times.length) times.push(...time(0, end - times.length))
  }
  const median = quantile(times, 0.5)
  const { packedBytes, rows, columns } = matrix.facts
  return {
    count: times.length,
    median,
    p99: quantile(times, 0.99),
    best: Math.min(...times),
    bytesPerSecond: packedBytes / median,
    readLimit: STREAM_BYTES / quantile(passes, 0.5),
    operationsPerSecond: (2 * rows * columns * (x.length / columns)) / median,
  }
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!
}

export interface Accuracy {
  /** ‖y - exact‖ / ‖exact‖ of W · x, bias and activation left out. */
  readonly relativeError: number
  /** What it may be: 1 % in int8 arithmetic, 10^-6 · √columns in float. */
  readonly bound: number
}

/** Compares W · x with the f64 product from the files. */
export async function measureAccuracy(
  matrix: Matrix,
  x: Float32Array,
  options: Pick<MultiplyOptions, "expert" | "arithmetic"> & { readonly signal?: AbortSignal },
): Promise<Accuracy> {
  const { signal, ...product } = options
  const exact = await matrix.reference(x, options)
  const y = matrix.multiply(x, undefined, product)
  let difference = 0
  let size = 0
  for (const [i, value] of exact.entries()) {
    difference += (y[i]! - value) ** 2
    size += value ** 2
  }
  const arithmetic =
    product.arithmetic === undefined || product.arithmetic === "auto" ? matrix.facts.arithmetic : product.arithmetic
  return {
    relativeError: size === 0 ? Math.sqrt(difference) : Math.sqrt(difference / size),
    bound: arithmetic === "int8" ? 0.01 : 1e-6 * Math.sqrt(matrix.facts.columns),
  }
}
