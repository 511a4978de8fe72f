/**
 * What a benchmark gives: rows, each of one thing that was timed again and again, in turns with the limit that it is
 * told against. Bytes, seconds, bytes per second.
 */
import { CancelledError } from "../errors.ts"
import type { CodecName, DtypeName, StreamName } from "../native/abi.gen.ts"
import type { ValueCodec } from "../native/stream.ts"
import { medianOf, type Spread, spreadOf } from "./spread.ts"

export const BENCH_KINDS = ["stream", "decode", "matvec", "convert"] as const
export type BenchKind = (typeof BENCH_KINDS)[number]

/** One run of what is measured. */
export interface Pass {
  readonly seconds: number
  readonly bytesRead: number
  readonly bytesWritten: number
}

/** What this machine did as fast as it can, in the same moments. */
export interface Limit {
  readonly name: LimitName
  /** Of the bytes that it counts. */
  readonly bytesPerSecond: number
  /** The row's part of it: the median over all turns, so that a slow moment of the machine counts on both sides. */
  readonly share: number
}

/** Which bytes of a pass a limit is about. */
const LIMITS = {
  /** A copy with stores that go around the caches. */
  copy: ({ bytesRead, bytesWritten }: Pass) => bytesRead + bytesWritten,
  /** Such stores alone. */
  write: ({ bytesWritten }: Pass) => bytesWritten,
  /** A copy of the output by one thread, through the page cache, flushed. */
  cp: ({ bytesWritten }: Pass) => bytesWritten,
  /** Every byte looked at. */
  read: ({ bytesRead }: Pass) => bytesRead,
} as const

export type LimitName = keyof typeof LIMITS

interface Measured {
  readonly seconds: Spread
  /** Of one pass. */
  readonly bytesRead: number
  readonly bytesWritten: number
  /** Read and written, at the median. */
  readonly bytesPerSecond: number
  /** What bounds the row; the first is the one to look at. */
  readonly limits: readonly Limit[]
}

export interface StreamRow extends Measured {
  readonly kind: "stream"
  readonly access: StreamName
  readonly threads: number
}

export interface DecodeRow extends Measured {
  readonly kind: "decode"
  readonly codec: ValueCodec
  readonly dtype: Exclude<DtypeName, "bytes">
  readonly transposed: boolean
  readonly level: string
  readonly threads: number
  readonly valuesPerSecond: number
}

export interface MatvecRow extends Measured {
  readonly kind: "matvec"
  readonly codec: CodecName
  readonly rows: number
  readonly columns: number
  readonly arithmetic: "float" | "int8"
  readonly level: string
  readonly threads: number
  /** Threads that have rows: a small weight has none for all of them. */
  readonly workers: number
  /** A multiplication and an addition count two. */
  readonly operationsPerSecond: number
}

export interface ConvertRow extends Measured {
  readonly kind: "convert"
  readonly source: string
  /** Where the output goes. */
  readonly place: "memory" | "disk"
  /** How files were read and written. */
  readonly io: string
  readonly threads: number
}

export type BenchRow = StreamRow | DecodeRow | MatvecRow | ConvertRow

/** How long a row is measured, and by whom that can be ended. */
export interface Budget {
  readonly seconds: number
  readonly signal?: AbortSignal | undefined
}

/** Fewer turns say nothing about their spread. */
export const TURNS_MIN = 3

/** Seconds that the event loop, and with it a signal, waits at the most, a single pass aside. */
const BLOCK_SECONDS = 0.05

/**
 * Runs all of `subjects` in turns until the time is up, at least three times. Returns the passes of each. Throws
 * CancelledError once the signal has fired.
 */
export async function takeTurns(
  subjects: readonly (() => Pass | Promise<Pass>)[],
  { seconds, signal }: Budget,
): Promise<Pass[][]> {
  const passes: Pass[][] = subjects.map(() => [])
  const begin = performance.now()
  let paused = begin
  for (let turn = 0; turn < TURNS_MIN || performance.now() - begin < seconds * 1000; turn++) {
    for (const [i, subject] of subjects.entries()) {
      passes[i]!.push(await subject())
      if (performance.now() - paused < BLOCK_SECONDS * 1000) continue
      await Bun.sleep(0)
      throwIfCancelled(signal)
      paused = performance.now()
    }
  }
  return passes
}

export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw signal.reason instanceof CancelledError ? signal.reason : new CancelledError()
}

/** Passes that took turns with those of a row. */
export interface LimitPasses {
  readonly name: LimitName
  readonly passes: readonly Pass[]
}

/** The figures of a row, beside limits that were measured in turns with it. */
export function summarizePasses(passes: readonly Pass[], limits: readonly LimitPasses[] = []): Measured {
  const seconds = spreadOf(passes.map((pass) => pass.seconds))
  const { bytesRead, bytesWritten } = passes[0]!
  return {
    seconds,
    bytesRead,
    bytesWritten,
    bytesPerSecond: (bytesRead + bytesWritten) / seconds.median,
    limits: limits.map((limit) => limitOf(passes, limit)),
  }
}

function limitOf(passes: readonly Pass[], limit: LimitPasses): Limit {
  const rate = (pass: Pass) => LIMITS[limit.name](pass) / pass.seconds
  const rates = limit.passes.map(rate)
  return {
    name: limit.name,
    bytesPerSecond: medianOf(rates),
    share: medianOf(passes.map((pass, turn) => rate(pass) / rates[turn]!)),
  }
}
