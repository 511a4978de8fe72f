/** How fast a matrix multiplies, beside what memory gives to the same workers in the same moments; and how exactly. */
import type { JobProgress } from "../native/job.ts"
import { MemoryStream } from "../native/stream.ts"
import { cancelled, type Matrix, type MultiplyOptions } from "./matrix.ts"

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
  readonly signal?: AbortSignal
}

/** Seconds that the event loop waits for products at the most: a signal ends the measurement by then. */
const BLOCK_SECONDS = 0.1

/**
 * Times products of x; those of a stacked weight go round its experts, where none is given. Throws CancelledError once
 * the signal has fired.
 */
export async function measureSpeed(matrix: Matrix, x: Float32Array, options: MeasureOptions): Promise<Speed> {
  const { threads, numa, count: wanted, signal, ...product } = options
  const experts = options.expert === undefined ? matrix.facts.experts : 1
  const time = (index: number, count: number) =>
    matrix.time(x, count, { ...product, expert: options.expert ?? index % experts })
  const first = Math.min(...time(0, 2))
  const count = wanted ?? Math.min(COUNT_MAX, Math.max(COUNT_MIN, Math.ceil(SECONDS_WANTED / first)))
  using stream = new MemoryStream({ threads, numa, size: STREAM_BYTES })
  const passes: number[] = []
  const times: number[] = []
  const block = experts > 1 ? 1 : Math.max(1, Math.floor(BLOCK_SECONDS / first))
  let paused = performance.now()
  for (let round = 0; round < ROUNDS; round++) {
    passes.push(Math.min(stream.measure("read"), stream.measure("read_interleaved")))
    const end = Math.round((count * (round + 1)) / ROUNDS)
    while (times.length < end) {
      for (const seconds of time(times.length, Math.min(block, end - times.length))) times.push(seconds)
      if (performance.now() - paused < BLOCK_SECONDS * 1000) continue
      await Bun.sleep(0)
      if (signal?.aborted) throw cancelled(signal)
      paused = performance.now()
    }
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
  /** ‖y - exact‖ / ‖exact‖ of W · x, bias and activation left out; of several experts the largest. */
  readonly relativeError: number
  /**
   * What it may be: 1 % in int8 arithmetic, 10^-6 · √columns in float; besides, what the decoded weights lost in rounding
   * to 8 or 11 bits where products keep their factors.
   */
  readonly bound: number
  /** Of a weight that was rounded at load: the same against the weight as it is stored. */
  readonly storedError: number | undefined
}

export interface AccuracyOptions {
  /** Absent: every matrix of a stacked weight. */
  readonly expert?: number | undefined
  readonly arithmetic?: "float" | "int8"
  readonly onProgress?: (progress: JobProgress) => void
  readonly signal?: AbortSignal
}

/** Compares W · x with the f64 product from the files. */
export async function measureAccuracy(matrix: Matrix, x: Float32Array, options: AccuracyOptions): Promise<Accuracy> {
  const { arithmetic = matrix.facts.arithmetic, expert, onProgress, signal } = options
  const first = expert ?? 0
  const last = expert ?? matrix.facts.experts - 1
  const isRounded = matrix.facts.codec !== matrix.facts.storedCodec
  const passes = (last - first + 1) * (isRounded ? 2 : 1)
  let pass = 0
  const errorOf = async (one: number, stored: boolean) => {
    const begun = pass++
    const report = (progress: JobProgress) => {
      const { bytesTotal } = progress
      onProgress?.({ ...progress, bytesDone: begun * bytesTotal + progress.bytesDone, bytesTotal: passes * bytesTotal })
    }
    const exact = await matrix.reference(x, { expert: one, stored, onProgress: report, ...(signal && { signal }) })
    return relativeError(matrix.multiply(x, undefined, { expert: one, arithmetic }), exact)
  }
  const errors: number[] = []
  const storedErrors: number[] = []
  for (let one = first; one <= last; one++) {
    errors.push(await errorOf(one, false))
    if (isRounded) storedErrors.push(await errorOf(one, true))
  }
  const { weightBits, columns } = matrix.facts
  const rounding = weightBits === 0 ? 0 : 2 ** -weightBits
  return {
    // NaN stays NaN.
    relativeError: Math.max(...errors),
    bound: (arithmetic === "int8" ? 0.01 : 1e-6 * Math.sqrt(columns)) + rounding,
    storedError: isRounded ? Math.max(...storedErrors) : undefined,
  }
}

/** ‖found - exact‖ / ‖exact‖; of nothing but zeros the size of the difference. */
function relativeError(found: Float32Array, exact: Float64Array): number {
  let difference = 0
  let size = 0
  for (const [i, value] of exact.entries()) {
    difference += (found[i]! - value) ** 2
    size += value ** 2
  }
  return size === 0 ? Math.sqrt(difference) : Math.sqrt(difference / size)
}
