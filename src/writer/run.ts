/**
 * Running a plan. Everything is written under temporary names and flushed, checked, and only then named; what makes
 * the output complete (its index, or its one weights file) comes last. A failure or a cancel takes away what the run
 * has made (with `resume`: but for what is finished) and leaves an older output as it was.
 */
import { join } from "node:path"
import { UsageError } from "../errors.ts"
import type { Plan } from "../plan/plan.ts"
import { Workspace } from "./cleanup.ts"
import { commitFiles, partialName } from "./commit.ts"
import { writeText } from "./files.ts"
import { throwIfCancelled } from "./job.ts"
import { type FinishedShard, removeJournal } from "./journal.ts"
import { staleFiles } from "./leftovers.ts"
import { acquireLock, type Lock } from "./lock.ts"
import { manifestText } from "./manifest.ts"
import { runPart } from "./part-run.ts"
import { refuseParts } from "./parts.ts"
import { manifestName, type OutputPlace, refuseExisting, requireWritable, resolveOutput } from "./place.ts"
import { type Beginning, begin, hasLeftovers, mayBeResumed } from "./resume.ts"
import { type MadeShards, makeShards, prepareFolder, reportOf } from "./shards.ts"
import { describeFiles, stageSmallFiles } from "./stage.ts"
import type { ConversionReport, RunOptions } from "./types.ts"

/**
 * Writes the output of a plan.
 *
 * Throws RefusedError where the output exists (without `force`), is or lies in the input, is being written by another
 * run, or cannot be resumed; IoError for space (before the work starts), permissions and sources that change; CheckError
 * where the output does not compare or `nonFinite` is "error" and some result is not finite; CancelledError when the
 * signal fires.
 */
export async function runPlan(plan: Plan, options: RunOptions): Promise<ConversionReport> {
  if (options.resume && options.force) throw new UsageError("--resume and --force exclude each other")
  if (options.finish && options.part === undefined) throw new UsageError("--finish needs --part")
  const started = performance.now()
  throwIfCancelled(options.signal)
  if (options.part !== undefined) return await runPart(plan, options.part, options)
  const place = await resolveOutput(plan, options.output, options.manifest)
  await requireWritable(place)
  await refuseParts(place)
  // An output that is there may be what is to be resumed; the look at it is under the lock.
  if (!options.resume && !(await hasLeftovers(place))) await refuseExisting(place, options.force ?? false, new Set())

  const workspace = new Workspace()
  let lock: Lock | undefined
  try {
    if (place.kind === "folder") await workspace.makeFolder(place.path)
    lock = await acquireLock(place)
    const { made, resumed, wasComplete } = await produce(plan, place, workspace, options, lock)
    workspace.keepAll()
    const report = reportOf(plan, place, made, started)
    return { ...report, part: undefined, resumed, wasComplete, finished: undefined }
  } finally {
    await workspace.discardFiles()
    await lock?.release()
    await workspace.discardFolders()
  }
}

interface Produced {
  readonly made: MadeShards
  readonly resumed: number
  readonly wasComplete: boolean
}

/** All work under the lock. */
async function produce(
  plan: Plan,
  place: OutputPlace,
  workspace: Workspace,
  options: RunOptions,
  lock: Lock,
): Promise<Produced> {
  const beginning = await begin(place, plan, options, lock)
  const { journal, kept } = beginning
  const finished = new Map(kept)
  try {
    const produced = await write(plan, place, workspace, options, beginning, finished)
    await journal?.close()
    await removeJournal(place)
    return produced
  } catch (error) {
    await journal?.close()
    const stays = options.resume === true && finished.size > 0 && mayBeResumed(error)
    if (stays) workspace.keep([...finished.keys()].map((name) => join(place.folder, partialName(name))))
    else await removeJournal(place)
    throw error
  }
}

/** From the first shard to the moment in which the output has its names. `finished` gets each shard that is noted. */
async function write(
  plan: Plan,
  place: OutputPlace,
  workspace: Workspace,
  options: RunOptions,
  beginning: Beginning,
  finished: Map<string, FinishedShard>,
): Promise<Produced> {
  const { journal, kept, force } = beginning
  if (journal === undefined) {
    // Nothing but the plan says that this output is its own: at least a look at the values has to agree.
    const verify = options.verify === "full" ? "full" : "sample"
    const made = await makeShards(plan, place, { ...options, verify }, beginning, finished)
    return { made, resumed: kept.size, wasComplete: true }
  }
  if (!beginning.complete) await prepareFolder(plan, place, workspace, kept)
  const made = await makeShards(plan, place, options, beginning, finished)
  if (!beginning.complete) {
    await stageSmallFiles(plan, place, options)
    if (options.manifest) {
      const text = manifestText(await describeFiles(place, made, options))
      await writeText(join(place.folder, partialName(manifestName(place))), text)
    }
    throwIfCancelled(options.signal)
    const stale = force ? await staleFiles(place) : []
    await commitFiles({ folder: place.folder, names: place.names, stale, journal })
  }
  return { made, resumed: kept.size, wasComplete: false }
}
