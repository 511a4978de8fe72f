/**
 * Products of MXFP4 weights beside what bounds them: the memory of this machine, read by the same threads; ggml with and
 * without its own repacking; torch on the dense weight, and torch in the way that weights are commonly used, expanded
 * first. All take turns, so that a slow moment of the machine meets everyone; medians are compared. What a call from
 * TypeScript takes, with all that stands before and behind the product, mitata measures afterwards.
 */
import { join } from "node:path"
import { measure } from "mitata"
import { loadMatrix, openCheckpoint } from "../../src/index.ts"
import { MemoryStream } from "../../src/native/stream.ts"
import { findRoom } from "../fixtures/room.ts"
import {
  type MatvecShape,
  NAME,
  otherRunners,
  ownRunner,
  peerRunners,
  type Runner,
  writeWeight,
} from "./matvec-contenders.ts"
import { median } from "./process-run.ts"

export interface MatvecBenchOptions {
  readonly shapes: readonly MatvecShape[]
  /** 0: one for each allowed core. */
  readonly threads: readonly number[]
  readonly rounds: number
  readonly peers: boolean
}

export const MATVEC_BENCH = {
  shapes: [
    { experts: 1, rows: 2880, columns: 2880 },
    { experts: 1, rows: 3072, columns: 2880 },
    { experts: 1, rows: 5760, columns: 2880 },
    { experts: 1, rows: 4096, columns: 4096 },
    { experts: 1, rows: 14336, columns: 4096 },
    { experts: 1, rows: 65536, columns: 2880 },
    { experts: 32, rows: 5760, columns: 2880 },
  ],
  threads: [1, 0],
  rounds: 15,
  peers: true,
} as const satisfies MatvecBenchOptions

export interface Contender {
  readonly name: string
  /** Bytes of weights that one product reads. */
  readonly bytes: number
  readonly medianSeconds: number
  readonly bestSeconds: number
  /** 10^9 multiplications and additions a second, at the median. */
  readonly gigaflops: number
  /** Seconds of a call from TypeScript, as mitata measures it; absent where another process multiplies. */
  readonly call?: { readonly median: number; readonly p99: number; readonly samples: number }
}

export interface MatvecBenchResult extends MatvecShape {
  readonly threads: number
  readonly level: string
  /** Bytes per second, medians: one plain run for each thread, and four side by side. */
  readonly readPlain: number
  readonly readInterleaved: number
  readonly contenders: readonly Contender[]
  /** What the bench could not compare with, and why. */
  readonly left: string | undefined
}

/** Seconds of products that one round spends on one contender, about. */
const ROUND_SECONDS = 0.02
const STREAM_BYTES = 128 * 2 ** 20
/** A contender that has had so many seconds, and this many products, sits the other rounds out. */
const SECONDS_MAX = 3
const PRODUCTS_MIN = 3
/** Nanoseconds of calls that mitata measures of each contender. */
const CALLS_NS = 60e6

async function measureCall(call: () => void): Promise<NonNullable<Contender["call"]>> {
  const { p50, p99, samples } = await measure(call, { min_cpu_time: CALLS_NS, gc: false })
  return { median: p50 / 1e9, p99: p99 / 1e9, samples: samples.length }
}

/** Seconds of each contender's products, and of reading memory, round by round. */
async function takeTurns(
  runners: readonly Runner[],
  stream: MemoryStream,
  rounds: number,
  warmup: number,
): Promise<{ times: number[][]; plain: number[]; interleaved: number[] }> {
  const times = runners.map((): number[] => [])
  const plain: number[] = []
  const interleaved: number[] = []
  const counts: number[] = []
  for (const { run } of runners) {
    const first = Math.min(...(await run(warmup)))
    counts.push(Math.min(500, Math.max(1, Math.round(ROUND_SECONDS / first))))
  }
  for (let round = 0; round < rounds; round++) {
    plain.push(stream.measure("read"))
    interleaved.push(stream.measure("read_interleaved"))
    for (const [i, { run }] of runners.entries()) {
      const taken = times[i]!.reduce((sum, seconds) => sum + seconds, 0)
      if (taken < SECONDS_MAX || times[i]!.length < PRODUCTS_MIN) times[i]!.push(...(await run(counts[i]!)))
    }
  }
  return { times, plain, interleaved }
}

async function benchShape(shape: MatvecShape, threads: number, bench: MatvecBenchOptions): Promise<MatvecBenchResult> {
  const size = (shape.experts * shape.rows * shape.columns * 17) / 32
  using room = findRoom(size + (1 << 20))
  if (room === undefined) throw new Error(`no room for ${(size / 1e9).toFixed(1)} GB of temporary files`)
  using stack = new DisposableStack()
  const path = join(room.path, "weight.safetensors")
  writeWeight(path, shape)
  const matrix = stack.use(await loadMatrix(await openCheckpoint(path), NAME, { threads, arithmetic: "int8" }))
  const stream = stack.use(new MemoryStream({ threads, numa: true, size: STREAM_BYTES }))
  const peers = bench.peers ? await peerRunners(shape, matrix.facts.threads, stack) : "not asked for"
  const others = await otherRunners(shape, threads, stack, room.path)
  const own = [ownRunner(matrix, "int8"), ownRunner(matrix, "float"), ...others]
  const runners = typeof peers === "string" ? own : [...own, ...peers]
  const warmup = shape.experts > 1 ? shape.experts : 2
  const { times, plain, interleaved } = await takeTurns(runners, stream, bench.rounds, warmup)
  const contenders: Contender[] = []
  for (const [i, { name, bytes, call }] of runners.entries()) {
    contenders.push({
      name,
      bytes,
      medianSeconds: median(times[i]!),
      bestSeconds: Math.min(...times[i]!),
      gigaflops: (2 * shape.rows * shape.columns) / median(times[i]!) / 1e9,
      ...(call === undefined ? {} : { call: await measureCall(call) }),
    })
  }
  return {
    ...shape,
    threads: matrix.facts.threads,
    level: matrix.facts.level,
    readPlain: STREAM_BYTES / median(plain),
    readInterleaved: STREAM_BYTES / median(interleaved),
    contenders,
    left: typeof peers === "string" ? peers : undefined,
  }
}

export async function benchMatvec(bench: MatvecBenchOptions): Promise<MatvecBenchResult[]> {
  const results: MatvecBenchResult[] = []
  for (const shape of bench.shapes) {
    for (const threads of bench.threads) results.push(await benchShape(shape, threads, bench))
  }
  return results
}
