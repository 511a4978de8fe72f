/** How fast a checkpoint is converted, in turns with a plain copy of the file, or files, that the conversion writes. */
import { closeSync, fsyncSync, openSync, readSync, writeSync } from "node:fs"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import { ioFault } from "../containers/file.ts"
import { planConversion } from "../plan/conversion.ts"
import type { Plan } from "../plan/plan.ts"
import { runPlan } from "../writer/run.ts"
import { openRoom } from "./room.ts"
import { type Budget, type ConvertRow, type Pass, summarizePasses, takeTurns, throwIfCancelled } from "./row.ts"

export interface ConvertCase {
  readonly checkpoint: Checkpoint
  /** How the row names it. */
  readonly source: string
  readonly threads: number
}

/** Beyond tensors: heads, config, side files. */
const MARGIN = 1.05
const MARGIN_BYTES = 16 << 20

/** Bytes that a plan's output and a copy of it take. */
export function convertRoom(plan: Plan): number {
  return 2 * plan.bytesOut * MARGIN + MARGIN_BYTES
}

/**
 * Converts to BF16 into a temporary folder, again and again, as `convert --verify none` does, which flushes its output;
 * so does the copy. Throws what `runPlan` throws.
 */
export async function measureConvert(what: ConvertCase, budget: Budget): Promise<ConvertRow> {
  const { checkpoint, source, threads } = what
  const plan = planConversion(checkpoint, { to: "BF16", kind: "folder" })
  using room = openRoom(convertRoom(plan))
  const output = join(room.path, "output")
  const copy = join(room.path, "copy")
  let modes = ""
  const convert = async (): Promise<Pass> => {
    await rm(output, { recursive: true, force: true })
    const begin = performance.now()
    const report = await runPlan(plan, { output, threads, verify: "none", signal: budget.signal })
    modes = report.io === report.targetIo ? report.io : `${report.io}, ${report.targetIo}`
    const { bytesRead, bytesWritten } = report
    return { seconds: (performance.now() - begin) / 1000, bytesRead, bytesWritten }
  }
  const copyOutput = () => copyFiles(output, copy, plan, budget.signal)
  // Files must be there to be copied; besides, the first run warms the page cache.
  await convert()
  await copyOutput()
  const [passes, copies] = await takeTurns([convert, copyOutput], budget)
  const measured = summarizePasses(passes!, [{ name: "cp", passes: copies! }])
  return { kind: "convert", source, threads, place: room.tmpfs ? "memory" : "disk", io: modes, ...measured }
}

/** What `cp` does: reads and writes one file after the other, in pieces that stay in the cache. */
const COPY_BYTES = 256 << 10

/** Bytes after which a signal is heard. */
const PAUSE_BYTES = 64 << 20

async function copyFiles(folder: string, copy: string, plan: Plan, signal: AbortSignal | undefined): Promise<Pass> {
  await rm(copy, { force: true })
  const buffer = new Uint8Array(COPY_BYTES)
  const begin = performance.now()
  let bytes = 0
  let target = -1
  try {
    target = openSync(copy, "wx")
    for (const { name } of plan.shards) {
      const source = openSync(join(folder, name), "r")
      try {
        for (let size = -1; size !== 0; ) {
          size = readSync(source, buffer)
          for (let done = 0; done < size; ) done += writeSync(target, buffer, done, size - done)
          bytes += size
          if (bytes % PAUSE_BYTES !== 0) continue
          await Bun.sleep(0)
          throwIfCancelled(signal)
        }
      } finally {
        closeSync(source)
      }
    }
    fsyncSync(target)
  } catch (error) {
    throw ioFault(copy, error)
  } finally {
    if (target >= 0) closeSync(target)
  }
  return { seconds: (performance.now() - begin) / 1000, bytesRead: bytes, bytesWritten: bytes }
}
