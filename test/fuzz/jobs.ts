/**
 * Native jobs, several at once, that are started, polled, asked, cancelled and destroyed in random orders. A job that is
 * cancelled leaves no target, one that ends has written all of it, handles that are gone are refused, and memory does
 * not grow.
 */
import { existsSync, readFileSync, rmSync } from "node:fs"
import { Job, type JobSettings } from "../../src/native/job.ts"
import { copyStep, encodeTestPlan, fillMxfp4, mxfp4Step } from "../native/plan.ts"
import { temporaryFolder } from "../support/checkpoints.ts"

type Random = () => number

export interface JobCounts {
  operations: number
  started: number
  ended: number
  cancelled: number
  /** Growth of the process over the second half, in bytes. */
  grown: number
}

interface Running {
  readonly job: Job
  readonly target: string
}

const EXTENT = { batch: 2, rows: 96, columns: 320 } as const
const ALIVE_MAX = 6
/** Of the process between the middle and the end: the collector's own ups and downs are below it. */
export const GROWTH_MAX = 24 * 2 ** 20

export async function fuzzJobs(count: number, next: Random): Promise<JobCounts> {
  const counts: JobCounts = { operations: 0, started: 0, ended: 0, cancelled: 0, grown: 0 }
  using folder = temporaryFolder("dequantizer-fuzz-")
  const source = folder.file("source")
  fillMxfp4(source, EXTENT.batch, EXTENT.rows, EXTENT.columns)
  const alive: Running[] = []
  let expected: Uint8Array | undefined
  let middle = 0
  const pick = <T>(values: readonly T[]): T => values[next() % values.length]!

  const start = (): void => {
    const target = folder.file(`target-${counts.started}`)
    const plan = encodeTestPlan({
      sources: [source],
      targets: [{ path: target, head: new Uint8Array(16) }],
      steps: [
        mxfp4Step(EXTENT, { file: 0, offset: 0, target: 0 }, { dtype: "bf16", transposed: true }),
        copyStep(0, 3, 5000, 0),
      ],
    })
    const settings: JobSettings = {
      kind: "convert",
      io: pick(["mmap", "pread", "direct", "auto"] as const),
      targetIo: pick(["mmap", "pread", "direct", "auto"] as const),
      dropCache: next() % 2 === 0,
      threads: 1 + (next() % 3),
      sync: false,
      memoryMax: pick([2 ** 18, 2 ** 22, 2 ** 28]),
      sampleTiles: 0,
      keepDone: next() % 2 === 0,
      hashes: next() % 2 === 0,
    }
    alive.push({ job: Job.start(plan.bytes, settings), target })
    counts.started += 1
  }

  const finish = async ({ job, target }: Running): Promise<void> => {
    const report = await job.finish()
    if (report.status === "ok") {
      const bytes = readFileSync(target)
      expected ??= bytes
      if (Buffer.compare(bytes, expected) !== 0) throw new Error("two jobs of one plan wrote different files")
      if (!job.file(1).done) throw new Error("a job ended and its target is not done")
      counts.ended += 1
    } else if (report.status === "cancelled") {
      if (existsSync(target) && !job.file(1).done) throw new Error("a cancelled job left its target")
      counts.cancelled += 1
    } else throw new Error(`a job ended with ${report.status}`)
  }

  for (let i = 0; i < count; i += 1) {
    if (i === Math.floor(count / 2)) middle = memory()
    counts.operations += 1
    const operation = next() % 8
    if (alive.length === 0 || (operation < 2 && alive.length < ALIVE_MAX)) {
      start()
      continue
    }
    const chosen = pick(alive)
    if (operation === 2) chosen.job.cancel()
    else if (operation === 3) chosen.job.file(next() % 2)
    else if (operation < 6) chosen.job.poll()
    else {
      alive.splice(alive.indexOf(chosen), 1)
      // Half of them are destroyed at work.
      if (operation === 6) await finish(chosen)
      chosen.job.dispose()
      rmSync(chosen.target, { force: true })
    }
  }
  for (const running of alive) {
    await finish(running)
    running.job.dispose()
  }
  counts.grown = memory() - middle
  return counts
}

function memory(): number {
  Bun.gc(true)
  return process.memoryUsage.rss()
}
