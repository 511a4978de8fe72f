/** How fast weights are multiplied as they are stored, beside what the same threads read from memory. */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import { UnsupportedError } from "../errors.ts"
import { loadMatrix } from "../matrix/load.ts"
import type { Matrix } from "../matrix/matrix.ts"
import { randomActivations } from "../matrix/vector.ts"
import { selectLevel } from "../native/machine.ts"
import { takeInventory } from "../schemes/index.ts"
import type { Weight } from "../schemes/scheme.ts"
import { openStream, streamPass } from "./memory.ts"
import { type Budget, type MatvecRow, type Pass, summarizePasses, takeTurns } from "./row.ts"

/** What is loaded, and how it is multiplied. */
export interface MatvecCase {
  readonly checkpoint: Checkpoint
  /** Dense name of the weight. */
  readonly name: string
  readonly level: string
  readonly threads: number
}

/** Seconds that one pass takes at least: its products are timed one by one. */
const PASS_SECONDS = 0.004
const COUNT_MAX = 4096

/**
 * The rows of one weight: each arithmetic that it has, in turns. None where it has no products. The level in use is
 * `usualLevel` afterwards.
 */
export async function measureMatvec(
  { checkpoint, name, level, threads }: MatvecCase,
  usualLevel: string,
  budget: Budget,
): Promise<MatvecRow[]> {
  selectLevel(level)
  const loaded = await load(checkpoint, name, threads, budget.signal).finally(() => selectLevel(usualLevel))
  if (loaded === undefined) return []
  using matrix = loaded
  using stream = openStream(threads)
  const arithmetics = matrix.facts.hasInt8 ? (["int8", "float"] as const) : (["float"] as const)
  const x = randomActivations(matrix.facts.columns, 1)
  const subjects = arithmetics.map((arithmetic) => {
    const first = Math.min(...matrix.time(x, 2, { arithmetic }))
    const count = Math.min(COUNT_MAX, Math.max(1, Math.ceil(PASS_SECONDS / first)))
    return () => productPass(matrix, x, count, arithmetic)
  })
  const [reads, ...passes] = await takeTurns([() => streamPass(stream, "read_interleaved"), ...subjects], budget)
  const { rows, columns, codec, workers } = matrix.facts
  return arithmetics.map((arithmetic, i) => {
    const measured = summarizePasses(passes[i]!, [{ name: "read", passes: reads! }])
    const operationsPerSecond = (2 * rows * columns) / measured.seconds.median
    return {
      kind: "matvec",
      codec,
      rows,
      columns,
      arithmetic,
      level,
      threads,
      workers,
      ...measured,
      operationsPerSecond,
    }
  })
}

async function load(
  checkpoint: Checkpoint,
  name: string,
  threads: number,
  signal: AbortSignal | undefined,
): Promise<Matrix | undefined> {
  const weight = takeInventory(checkpoint).weights.find((one) => one.name === name)
  const expert = weight !== undefined && weight.batch > 1 ? { expert: 0 } : {}
  try {
    return await loadMatrix(checkpoint, name, { threads, ...expert, ...(signal === undefined ? {} : { signal }) })
  } catch (error) {
    if (error instanceof UnsupportedError) return undefined
    throw error
  }
}

/** A pass is one product: the median of some. */
function productPass(matrix: Matrix, x: Float32Array, count: number, arithmetic: "int8" | "float"): Pass {
  const times = matrix.time(x, count, { arithmetic }).toSorted()
  return { seconds: times[times.length >> 1]!, bytesRead: matrix.facts.packedBytes, bytesWritten: 0 }
}

/** Kinds of weights that a checkpoint is measured by. */
const WEIGHTS_MAX = 4

/** One weight of each codec and shape, the largest first. */
export function weightsToMultiply(checkpoint: Checkpoint): string[] {
  const kinds = new Map<string, Weight>()
  for (const weight of takeInventory(checkpoint).weights) {
    const kind = `${weight.codec} ${weight.rows} ${weight.columns}`
    if (!kinds.has(kind)) kinds.set(kind, weight)
  }
  const size = ({ rows, columns }: Weight) => rows * columns
  return [...kinds.values()]
    .toSorted((a, b) => size(b) - size(a))
    .slice(0, WEIGHTS_MAX)
    .map(({ name }) => name)
}
