/**
 * How a run begins under its lock: what an earlier one has left is kept where this run may go on with it, and taken away
 * where it may not.
 */
import { lstat } from "node:fs/promises"
import { join } from "node:path"
import { errorCode, ioFault } from "../containers/file.ts"
import { escapeText } from "../containers/quote.ts"
import { CancelledError, IoError, RefusedError } from "../errors.ts"
import type { Plan } from "../plan/plan.ts"
import { partialName } from "./commit.ts"
import { isOutputOf } from "./complete.ts"
import { checksumFiles } from "./digest.ts"
import { describeDifference, type Fingerprint, fingerprintOf } from "./fingerprint.ts"
import {
  type FinishedShard,
  hasJournal,
  Journal,
  type JournalState,
  journalName,
  readJournal,
  removeJournal,
} from "./journal.ts"
import { recover } from "./leftovers.ts"
import { hasLockFile, type Lock, lockName } from "./lock.ts"
import { type OutputPlace, refuseExisting, shardFile } from "./place.ts"
import type { RunOptions } from "./types.ts"

export interface Beginning {
  /** undefined: the output was there, complete, and without a journal. */
  readonly journal: Journal | undefined
  /** Shards that need not be made again, by the names of their files. */
  readonly kept: ReadonlyMap<string, FinishedShard>
  /** An older output is replaced. */
  readonly force: boolean
  /** The earlier run had given all names: nothing is left but to check. */
  readonly complete: boolean
}

/** Whether a run was killed here, is at work, or has left something to go on with. */
export async function hasLeftovers(place: OutputPlace): Promise<boolean> {
  return (await hasLockFile(place)) || (await hasJournal(place))
}

/**
 * Prepares the place of an output that this run holds the lock of. Throws RefusedError where the output exists, or where
 * `resume` finds the work of another plan: nothing is touched then.
 */
export async function begin(place: OutputPlace, plan: Plan, options: RunOptions, lock: Lock): Promise<Beginning> {
  const fingerprint = await fingerprintOf(plan, options)
  const earlier = await readJournal(place)
  if (options.resume && earlier !== undefined) return await goOn(place, plan, options, { earlier, fingerprint })
  if (lock.takenOver || (await hasJournal(place))) {
    await recover(place, earlier)
    await removeJournal(place)
  }
  const force = options.force ?? false
  const complete = options.resume ? await completeShards(plan, place, options) : undefined
  if (complete !== undefined) return { journal: undefined, kept: complete, force, complete: true }
  await refuseExisting(place, force, new Set([lockName(place)]))
  const journal = await Journal.create(place, { fingerprint, replace: force, names: place.names })
  return { journal, kept: new Map(), force, complete: false }
}

/**
 * The shards of an output that an earlier run has completed. A run that is killed at its very end, or started again by a
 * scheduler that did not hear of its success, leaves no journal; but then every header and small file is the plan's own.
 */
export async function completeShards(
  plan: Plan,
  place: OutputPlace,
  options: RunOptions,
): Promise<ReadonlyMap<string, FinishedShard> | undefined> {
  // How many results are not finite is known only to the run that computed them.
  if (options.nonFinite === "error" || !(await isOutputOf(plan, place, options.manifest ?? false))) return undefined
  const shards = plan.shards.map((shard) => ({ ...shard, name: shardFile(place, shard) }))
  const unknown = { checksum: 0n, nonFinite: { count: 0, tensor: undefined } }
  return new Map(shards.map(({ name, size }) => [name, { name, size, ...unknown }]))
}

interface Left {
  readonly earlier: JournalState
  readonly fingerprint: Fingerprint
}

async function goOn(place: OutputPlace, plan: Plan, options: RunOptions, left: Left): Promise<Beginning> {
  const { earlier, fingerprint } = left
  requireSame(place, earlier, fingerprint)
  const noted = new Set(earlier.shards.keys())
  const complete = await recover(place, earlier, noted)
  if (!complete) {
    const ours = [lockName(place), journalName(place), ...[...noted].map(partialName)]
    await refuseExisting(place, earlier.replace, new Set(ours))
  }
  const kept = complete ? earlier.shards : await checkShards(place, plan, earlier, options)
  return { journal: await Journal.reopen(place, earlier), kept, force: earlier.replace, complete }
}

/** Throws RefusedError where an earlier run is not the same as this one. */
export function requireSame({ path }: OutputPlace, earlier: JournalState, fingerprint: Fingerprint): void {
  const difference = describeDifference(earlier.fingerprint, fingerprint)
  if (difference === undefined) return
  throw new RefusedError(`${escapeText(path)}: cannot be resumed: ${difference}`, {
    hint: "without --resume the run starts over",
  })
}

/** The shards whose files are what the journal says, byte for byte. */
export async function checkShards(
  place: OutputPlace,
  plan: Plan,
  { shards }: JournalState,
  options: RunOptions,
): Promise<Map<string, FinishedShard>> {
  const candidates: FinishedShard[] = []
  for (const shard of plan.shards) {
    const noted = shards.get(shardFile(place, shard))
    if (noted?.size === shard.size && (await hasSize(join(place.folder, partialName(noted.name)), shard.size))) {
      candidates.push(noted)
    }
  }
  const paths = candidates.map(({ name }) => join(place.folder, partialName(name)))
  const checksums = await checksumFiles(paths, options)
  return new Map(candidates.filter(({ checksum }, i) => checksum === checksums[i]).map((shard) => [shard.name, shard]))
}

async function hasSize(path: string, size: number): Promise<boolean> {
  try {
    const stats = await lstat(path)
    return stats.isFile() && stats.size === size
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false
    throw ioFault(path, error)
  }
}

/**
 * Whether what a run has finished should stay when it ends with `error`: the user will run it again, and nothing says
 * that what is finished is wrong.
 */
export function mayBeResumed(error: unknown): boolean {
  return error instanceof CancelledError || error instanceof IoError
}
