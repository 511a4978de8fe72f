/**
 * Products of MXFP4 weights beside what bounds them: the memory of this machine, read by the same threads; ggml with and
 * without its own repacking; torch on the dense weight, and torch in the way that weights are commonly used, expanded
 * first. All take turns, so that a slow moment of the machine meets everyone; medians are compared.
 */
import { rmSync } from "node:fs"
import { join } from "node:path"
import { loadMatrix, type Matrix, openCheckpoint } from "../../src/index.ts"
import { randomActivations } from "../../src/matrix/vector.ts"
import { machineInfo, selectLevel } from "../../src/native/machine.ts"
import { MemoryStream } from "../../src/native/stream.ts"
import { findRoom } from "../fixtures/room.ts"
import { writeSafetensors } from "../fixtures/safetensors-file.ts"
import { findPython } from "../reference/python.ts"
import { randomBytes } from "../support/checkpoints.ts"
import { Peer } from "./peer.ts"
import { median } from "./process-run.ts"

export interface MatvecShape {
  readonly experts: number
  readonly rows: number
  readonly columns: number
}

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
/** Dense weights beyond this are left out. */
const DENSE_BYTES_MAX = 800e6

interface Runner {
  readonly name: string
  readonly bytes: number
  /** Seconds of each of `count` products. */
  readonly run: (count: number) => readonly number[] | Promise<readonly number[]>
}

const NAME = "block.0.mlp.mlp1_weight"

/** The same matrix as numbers: what fusion is compared with. */
const DENSE = [
  { name: "dense bf16", dtype: "BF16", width: 2 },
  { name: "dense f32", dtype: "F32", width: 4 },
] as const
const DENSE_NAME = "weight"

/** A dense weight of small random numbers. */
function writeDense(path: string, { rows, columns }: MatvecShape, { dtype, width }: (typeof DENSE)[number]): void {
  const noise = randomBytes(1 << 20, 2)
  // The high byte of each number: around 2^-10, of both signs.
  for (let i = width - 1; i < noise.length; i += width) noise[i] = (noise[i]! & 0x80) | 0x3a
  const size = rows * columns * width
  writeSafetensors(path, [{ name: DENSE_NAME, dtype, shape: [rows, columns], size }], function* () {
    for (let done = 0; done < size; done += noise.length) yield noise.subarray(0, Math.min(noise.length, size - done))
  })
}

/** An MXFP4 weight of random codes, with scales as trained weights have them. */
function writeWeight(path: string, { experts, rows, columns }: MatvecShape): void {
  const blocks = experts * rows * (columns / 32)
  const noise = randomBytes(1 << 20, 1)
  const scales = noise.map((byte) => 112 + (byte & 15))
  const tensors = [
    { name: `${NAME}.blocks`, dtype: "U8", shape: [experts, rows, columns / 32, 16], size: blocks * 16 },
    { name: `${NAME}.scales`, dtype: "U8", shape: [experts, rows, columns / 32], size: blocks },
  ]
  writeSafetensors(path, tensors, function* ({ name, size }) {
    const source = name.endsWith("blocks") ? noise : scales
    for (let done = 0; done < size; done += source.length)
      yield source.subarray(0, Math.min(source.length, size - done))
  })
}

/** Our own products; a stacked weight's go round its experts, so that each comes from memory. */
function ownRunner(matrix: Matrix, arithmetic: "int8" | "float", name: string = arithmetic): Runner {
  const { columns, experts, packedBytes } = matrix.facts
  const x = randomActivations(columns, 1)
  let next = 0
  return {
    name,
    bytes: packedBytes,
    run: (count) => {
      if (experts === 1) return Array.from(matrix.time(x, count, { arithmetic }))
      return Array.from({ length: count }, () => matrix.time(x, 1, { arithmetic, expert: next++ % experts })[0]!)
    },
  }
}

/** Products of the next level of this CPU, and of the dense weights that are not too large. */
async function otherRunners(
  shape: MatvecShape,
  threads: number,
  stack: DisposableStack,
  folder: string,
): Promise<Runner[]> {
  const runners: Runner[] = []
  const { level, levels } = machineInfo()
  const best = levels.findIndex(({ name }) => name === level)
  const next = levels.slice(best + 1).find(({ supported, name }) => supported && name !== "scalar")
  if (next !== undefined) {
    const path = join(folder, "weight.safetensors")
    selectLevel(next.name)
    try {
      const matrix = stack.use(await loadMatrix(await openCheckpoint(path), NAME, { threads, arithmetic: "int8" }))
      for (const arithmetic of ["int8", "float"] as const)
        runners.push(ownRunner(matrix, arithmetic, `${arithmetic} ${next.name}`))
    } finally {
      selectLevel(level)
    }
  }
  if (shape.experts > 1) return runners
  for (const dense of DENSE) {
    const path = join(folder, "dense.safetensors")
    if (shape.rows * shape.columns * dense.width > DENSE_BYTES_MAX) continue
    writeDense(path, shape, dense)
    const matrix = stack.use(await loadMatrix(await openCheckpoint(path), DENSE_NAME, { threads }))
    runners.push(ownRunner(matrix, "float", dense.name))
    rmSync(path)
  }
  return runners
}

/**
 * The peers' runners; their processes end with `stack`. A stacked weight is one matrix of all its rows there, and the
 * time is divided by the experts.
 */
async function peerRunners(shape: MatvecShape, threads: number, stack: DisposableStack): Promise<Runner[] | string> {
  const python = findPython("full")
  if ("reason" in python) return python.reason
  const rows = shape.experts * shape.rows
  const runners: Runner[] = []
  const scripts = rows * shape.columns * 2 > DENSE_BYTES_MAX ? [GGML] : [GGML, TORCH]
  for (const [script, label] of scripts) {
    const peer = stack.use(new Peer(python.path, script))
    const setup = await peer.setup(rows, shape.columns, threads)
    for (const kind of setup.kinds) {
      runners.push({
        name: `${label} ${kind}`,
        bytes: setup.bytes / shape.experts,
        run: async (count) => {
          const times = await peer.run(kind, Math.max(1, Math.ceil(count / shape.experts)))
          return times.map((seconds) => seconds / shape.experts)
        },
      })
    }
  }
  return runners
}

const GGML = ["ggml_matvec.py", "ggml"] as const
const TORCH = ["torch_matvec.py", "torch"] as const

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
  const times = runners.map((): number[] => [])
  const reads = { read: [] as number[], read_interleaved: [] as number[] }
  const counts: number[] = []
  for (const { run } of runners) {
    const first = Math.min(...(await run(shape.experts > 1 ? shape.experts : 2)))
    counts.push(Math.min(500, Math.max(1, Math.round(ROUND_SECONDS / first))))
  }
  for (let round = 0; round < bench.rounds; round++) {
    for (const kind of ["read", "read_interleaved"] as const) reads[kind].push(stream.measure(kind))
    for (const [i, { run }] of runners.entries()) times[i]!.push(...(await run(counts[i]!)))
  }
  return {
    ...shape,
    threads: matrix.facts.threads,
    level: matrix.facts.level,
    readPlain: STREAM_BYTES / median(reads.read),
    readInterleaved: STREAM_BYTES / median(reads.read_interleaved),
    contenders: runners.map(({ name, bytes }, i) => ({
      name,
      bytes,
      medianSeconds: median(times[i]!),
      bestSeconds: Math.min(...times[i]!),
      gigaflops: (2 * shape.rows * shape.columns) / median(times[i]!) / 1e9,
    })),
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

/** How int8 products grow from one thread to all, beside what memory lets them: 1 is all that there is to have. */
export function describeScaling(results: readonly MatvecBenchResult[]): string[] {
  return results.flatMap((all) => {
    if (all.threads === 1) return []
    const same = ({ experts, rows, columns }: MatvecShape) =>
      experts === all.experts && rows === all.rows && columns === all.columns
    const one = results.find((result) => result.threads === 1 && same(result))
    if (one === undefined) return []
    const [single] = one.contenders
    const [own] = all.contenders
    const grown = single!.medianSeconds / own!.medianSeconds
    const limit = Math.max(all.readPlain, all.readInterleaved) / (single!.bytes / single!.medianSeconds)
    const share = grown / Math.min(all.threads, limit)
    const times = `${grown.toFixed(2)} × from 1 to ${all.threads} threads`
    return [`${shapeText(all)}: ${times}, ${share.toFixed(2)} of min(threads, memory's limit / one thread's rate)`]
  })
}

function shapeText({ experts, rows, columns }: MatvecShape): string {
  return `${experts > 1 ? `${experts} × ` : ""}${rows} × ${columns}`
}

/** The result in lines for people. */
export function describeMatvec(result: MatvecBenchResult): string[] {
  const rate = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB/s`
  const [own] = result.contenders
  const threads = result.threads === 1 ? "1 thread" : `${result.threads} threads`
  const reads = `reading ${rate(result.readPlain)} plain, ${rate(result.readInterleaved)} in four runs`
  const lines = result.contenders.map(({ name, bytes, medianSeconds, gigaflops }) => {
    const time = `${(medianSeconds * 1e6).toFixed(0)} µs`.padStart(12)
    const compared = (medianSeconds / own!.medianSeconds).toFixed(2)
    return `  ${name.padEnd(16)}${time}${rate(bytes / medianSeconds).padStart(12)}${`${gigaflops.toFixed(1)} Gflop/s`.padStart(16)}${compared.padStart(9)} × int8`
  })
  return [
    `${shapeText(result)}, ${threads}, ${result.level}: ${reads}`,
    ...lines,
    ...(result.left === undefined ? [] : [`  no peers: ${result.left}`]),
  ]
}
