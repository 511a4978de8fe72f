/** What a plan needs of the machine, without starting it. */
import { RefusedError } from "../errors.ts"
import { formatMemory } from "../format.ts"
import type { IoModeName } from "../native/abi.gen.ts"
import { type JobMeasure, measureJob } from "../native/job.ts"
import { encodePlan } from "./encode.ts"
import type { Plan } from "./plan.ts"

export interface MeasureOptions {
  /** 0 or absent: one for each allowed physical core. */
  readonly threads?: number | undefined
  /** Bound of the working buffers in bytes. */
  readonly maxMemory?: number | undefined
  readonly io?: IoModeName | undefined
  readonly targetIo?: IoModeName | undefined
}

/** Bound of the working buffers where the caller names none: 1 GiB. */
export const DEFAULT_MAX_MEMORY = 2 ** 30

/**
 * Threads, I/O mode, tiles and working memory in bytes. Throws RefusedError where the limit is too small for any
 * work.
 */
export function measurePlan(plan: Plan, options: MeasureOptions = {}): JobMeasure {
  const targets = plan.shards.map((shard) => ({ ...shard, path: shard.name }))
  const memoryMax = options.maxMemory ?? DEFAULT_MAX_MEMORY
  const measure = measureJob(encodePlan(targets).bytes, {
    kind: "convert",
    io: options.io ?? "auto",
    targetIo: options.targetIo ?? "auto",
    threads: options.threads ?? 0,
    sync: true,
    memoryMax,
    sampleTiles: 0,
  })
  if (measure === undefined) throw memoryLimitError(memoryMax)
  return measure
}

export function memoryLimitError(memoryMax: number): RefusedError {
  return new RefusedError(`working buffers do not fit the memory limit of ${formatMemory(memoryMax)}`, {
    hint: "raise --max-memory or lower -j",
  })
}
