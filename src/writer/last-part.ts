/**
 * The finishing of an output by the part that ends last. Parts do not know of each other, so each that ends looks whether
 * all are done. The journal of a part says so before the part looks: the last one to look sees all of them. Several may;
 * the output's lock lets one finish, and what it has finished is no more to do for the others.
 *
 * A part that has ended still shares the lock for a moment, which may be the moment in which the last one wants it alone:
 * it tries again for a while.
 */
import { RefusedError } from "../errors.ts"
import { requireParts } from "./done-parts.ts"
import { finishParts } from "./finish.ts"
import { hasJournal } from "./journal.ts"
import { LockHeldError } from "./lock.ts"
import type { OutputPlace } from "./place.ts"
import type { FinishReport, RunOptions } from "./types.ts"

const ATTEMPTS_MAX = 50
const PAUSE_MS = 100

/**
 * Finishes the output if all parts are done; undefined where some are not, where another run has done it or is at it, or
 * where one holds the output for longer than a few seconds. Throws as `finishParts` does.
 */
export async function finishIfLast(output: OutputPlace, options: RunOptions): Promise<FinishReport | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    if (!(await areAllDone(output))) return undefined
    try {
      const report = await finishParts(output.path, finishOptions(options))
      // Of no parts: another run was faster.
      return report.parts === 0 ? undefined : report
    } catch (error) {
      if (!(error instanceof LockHeldError)) throw error
    }
    await Bun.sleep(PAUSE_MS)
  }
  return undefined
}

/**
 * Goes on with a finishing that was killed: its part is done, and cannot be made again before. Undefined where there is
 * none.
 */
export async function resumeFinishing(output: OutputPlace, options: RunOptions): Promise<FinishReport | undefined> {
  return (await hasJournal(output)) ? await finishParts(output.path, finishOptions(options)) : undefined
}

async function areAllDone(output: OutputPlace): Promise<boolean> {
  try {
    await requireParts(output)
    return true
  } catch (error) {
    if (error instanceof RefusedError) return false
    throw error
  }
}

/** Values are read back as parts are: not at all, or all of them. */
function finishOptions({ verify, threads, maxMemory, io, onProgress, signal }: RunOptions) {
  return { verify: verify === "none" ? "none" : "full", threads, maxMemory, io, onProgress, signal } as const
}
