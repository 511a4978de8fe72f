/**
 * Running a part of a plan: its shards, and for the first part the small files, are written, flushed and checked as those
 * of any run, and then stay under their temporary names, with a journal that says that the part is done. `finishParts`, or
 * the last part where that is asked for, gives the output its names. Until then nothing in the folder can be taken for an output.
 *
 * Parts may run at once on machines that share the folder. Each holds a lock of its own and shares the output's.
 */
import { rm, stat } from "node:fs/promises"
import { join } from "node:path"
import { ioFault } from "../containers/file.ts"
import { outputNames } from "../plan/describe.ts"
import { type Part, partOf } from "../plan/part.ts"
import type { Plan } from "../plan/plan.ts"
import { Workspace } from "./cleanup.ts"
import { partialName } from "./commit.ts"
import { checksumFiles } from "./digest.ts"
import { syncFolder, writeText } from "./files.ts"
import { fingerprintOf } from "./fingerprint.ts"
import { throwIfCancelled } from "./job.ts"
import { type FinishedShard, Journal, readJournal, removeJournal } from "./journal.ts"
import { finishIfLast, resumeFinishing } from "./last-part.ts"
import { acquireLock, type Lock } from "./lock.ts"
import { manifestText } from "./manifest.ts"
import { refuseOtherParts, refuseOthersInPlace } from "./parts.ts"
import { manifestName, type OutputPlace, requireWritable, resolveOutput } from "./place.ts"
import { checkShards, completeShards, mayBeResumed, requireSame } from "./resume.ts"
import { runFileName } from "./run-files.ts"
import { type MadeShards, makeShards, prepareFolder, reportOf } from "./shards.ts"
import { describeFiles, stageSmallFiles } from "./stage.ts"
import type { ConversionReport, RunOptions } from "./types.ts"

/** A place of which `names` are the part's alone. */
interface PartPlace extends OutputPlace {
  readonly part: Part
}

interface Work {
  readonly whole: Plan
  readonly plan: Plan
  readonly output: OutputPlace
  readonly place: PartPlace
  readonly workspace: Workspace
  readonly options: RunOptions
}

/**
 * Writes one part of the output of a plan. Throws as `runPlan` does, and RefusedError where other parts in the folder
 * were made of another source, with other options or by another version.
 */
export async function runPart(whole: Plan, part: Part, options: RunOptions): Promise<ConversionReport> {
  const started = performance.now()
  const plan = partOf(whole, part)
  const output = await resolveOutput(whole, options.output, options.manifest)
  // A file of the input that is called as the manifest gives way to it.
  const manifest = options.manifest ? manifestName(output) : undefined
  const place = { ...output, part, names: outputNames(plan).filter((name) => name !== manifest) }
  await requireWritable(output)
  const resumed = options.finish && options.resume ? await resumeFinishing(output, options) : undefined
  const report = await runLocked({ whole, plan, output, place, workspace: new Workspace(), options }, started)
  const finished = resumed ?? (options.finish ? await finishIfLast(output, options) : undefined)
  return { ...report, part, finished }
}

/** From the taking of the locks to their release. */
async function runLocked(work: Work, started: number): Promise<Omit<ConversionReport, "part" | "finished">> {
  const { plan, output, place, workspace } = work
  const locks: Lock[] = []
  try {
    await workspace.makeFolder(output.path)
    locks.push(await acquireLock(output, "shared"))
    locks.push(await acquireLock(place))
    const { made, resumed, wasComplete } = await produce(work)
    workspace.keepAll()
    return { ...reportOf(plan, place, made, started), resumed, wasComplete }
  } finally {
    await workspace.discardFiles()
    for (const lock of locks.toReversed()) await lock.release()
    await workspace.discardFolders()
  }
}

interface Produced {
  readonly made: MadeShards
  readonly resumed: number
  readonly wasComplete: boolean
}

/** All work under the locks. */
async function produce(work: Work): Promise<Produced> {
  const { whole, plan, output, place, options } = work
  const fingerprint = await fingerprintOf(whole, options)
  const earlier = options.resume ? await readJournal(place) : undefined
  if (options.resume && earlier === undefined) {
    const kept = await completeShards(plan, place, { ...options, manifest: false })
    if (kept !== undefined) return await lookAgain(work, kept)
  }
  await refuseOthersInPlace(output, earlier?.replace ?? options.force ?? false)
  if (earlier !== undefined) {
    requireSame(place, earlier, fingerprint)
    await refuseOtherParts(place, fingerprint)
    const kept = await checkShards(place, plan, earlier, options)
    return await make(work, await Journal.reopen(place, earlier), kept)
  }
  await refuseOtherParts(place, fingerprint)
  await clear(place)
  const start = { fingerprint, replace: options.force ?? false, names: output.names }
  const journal = await Journal.create(place, start)
  try {
    // Once more: of two parts that begin at one moment at least one sees the other's journal.
    await refuseOtherParts(place, fingerprint)
  } catch (error) {
    await journal.close()
    await clear(place)
    throw error
  }
  return await make(work, journal, new Map())
}

/** The parts are finished: this one is only looked at. */
async function lookAgain(work: Work, kept: ReadonlyMap<string, FinishedShard>): Promise<Produced> {
  const { plan, place, options } = work
  const verify = options.verify === "full" ? "full" : "sample"
  const state = { journal: undefined, kept, complete: true }
  const made = await makeShards(plan, place, { ...options, verify }, state, new Map(kept))
  return { made, resumed: kept.size, wasComplete: true }
}

/** Takes away what an earlier run of the part has left; the journal first, which says that it is there. */
async function clear(place: PartPlace): Promise<void> {
  await removeJournal(place)
  for (const name of [...place.names.map(partialName), runFileName(place, "manifest")]) {
    await removeFile(join(place.folder, name))
  }
}

async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true }).catch((error: unknown) => {
    throw ioFault(path, error)
  })
}

async function make(work: Work, journal: Journal, kept: ReadonlyMap<string, FinishedShard>): Promise<Produced> {
  const { plan, place, workspace, options } = work
  const finished = new Map(kept)
  try {
    await prepareFolder(plan, place, workspace, kept)
    const made = await makeShards(plan, place, options, { journal, kept, complete: false }, finished)
    await journal.addDone(await stage(work, made))
    await journal.close()
    return { made, resumed: kept.size, wasComplete: false }
  } catch (error) {
    await journal.close()
    const stays = options.resume === true && finished.size > 0 && mayBeResumed(error)
    if (stays) workspace.keep([...finished.keys()].map((name) => join(place.folder, partialName(name))))
    else await removeJournal(place)
    throw error
  }
}

/** The small files, and the part's manifest; returns what the journal notes of the former. */
async function stage({ plan, place, workspace, options }: Work, made: MadeShards): Promise<FinishedShard[]> {
  const shards = new Set(made.targets.map(({ name }) => name))
  const small = place.names.filter((name) => !shards.has(name))
  const paths = small.map((name) => join(place.folder, partialName(name)))
  const manifest = join(place.folder, runFileName(place, "manifest"))
  for (const path of [...paths, manifest]) await removeFile(path)
  workspace.addFiles([manifest])
  await stageSmallFiles(plan, place, options)
  if (options.manifest) await writeText(manifest, manifestText(await describeFiles(place, made, options)))
  throwIfCancelled(options.signal)
  const checksums = await checksumFiles(paths, options)
  await syncFolder(place.folder)
  const sizes = await Promise.all(paths.map(fileSize))
  return small.map((name, i) => {
    return { name, size: sizes[i]!, checksum: checksums[i]!, nonFinite: { count: 0, tensor: undefined } }
  })
}

async function fileSize(path: string): Promise<number> {
  try {
    return (await stat(path)).size
  } catch (error) {
    throw ioFault(path, error)
  }
}
