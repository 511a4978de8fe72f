/** Who multiplies in the bench of products: this program in several ways, ggml and torch. */
import { rmSync } from "node:fs"
import { join } from "node:path"
import { loadMatrix, type Matrix, openCheckpoint } from "../../src/index.ts"
import { randomActivations } from "../../src/matrix/vector.ts"
import { machineInfo, selectLevel } from "../../src/native/machine.ts"
import { writeSafetensors } from "../fixtures/safetensors-file.ts"
import { findPython } from "../reference/python.ts"
import { randomBytes } from "../support/checkpoints.ts"
import { Peer } from "./peer.ts"

export interface MatvecShape {
  readonly experts: number
  readonly rows: number
  readonly columns: number
}

/** Dense weights beyond this are left out. */
const DENSE_BYTES_MAX = 800e6

export interface Runner {
  readonly name: string
  readonly bytes: number
  /** Seconds of each of `count` products. */
  readonly run: (count: number) => readonly number[] | Promise<readonly number[]>
  /** One product as a caller in TypeScript has it; absent where another process multiplies. */
  readonly call?: () => void
}

export const NAME = "block.0.mlp.mlp1_weight"

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
export function writeWeight(path: string, { experts, rows, columns }: MatvecShape): void {
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
export function ownRunner(matrix: Matrix, arithmetic: "int8" | "float", name: string = arithmetic): Runner {
  const { columns, experts, packedBytes } = matrix.facts
  const x = randomActivations(columns, 1)
  const y = new Float32Array(matrix.facts.rows)
  let next = 0
  return {
    name,
    bytes: packedBytes,
    call: () => {
      matrix.multiply(x, y, { arithmetic, expert: next++ % experts })
    },
    run: (count) => {
      if (experts === 1) return Array.from(matrix.time(x, count, { arithmetic }))
      return Array.from({ length: count }, () => matrix.time(x, 1, { arithmetic, expert: next++ % experts })[0]!)
    },
  }
}

/** Products of the next level of this CPU, and of the dense weights that are not too large. */
export async function otherRunners(
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
export async function peerRunners(
  shape: MatvecShape,
  threads: number,
  stack: DisposableStack,
): Promise<Runner[] | string> {
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
