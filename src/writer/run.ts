/**
 * Running a plan. Everything is written under temporary names and flushed, checked, and only then named; what makes
 * the output complete (its index, or its one weights file) comes last. A failure or a cancel takes away what the run
 * has made (with `resume`: but for what is finished) and leaves an older output as it was.
 */
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { escapeText, quote } from "../containers/quote.ts"
import { CheckError, UsageError } from "../errors.ts"
import type { JobReport } from "../native/job.ts"
import { machineInfo } from "../native/machine.ts"
import { encodePlan, type TargetFile } from "../plan/encode.ts"
import type { Plan } from "../plan/plan.ts"
import { Workspace } from "./cleanup.ts"
import { commitFiles, partialName } from "./commit.ts"
import { compareTargets, describeMismatch, SAMPLE_TILES } from "./compare.ts"
import { copySideFile, syncFolder, writeText } from "./files.ts"
import { runWork, throwIfCancelled } from "./job.ts"
import { type FinishedShard, removeJournal } from "./journal.ts"
import { staleFiles } from "./leftovers.ts"
import { acquireLock, type Lock } from "./lock.ts"
import { type OutputPlace, refuseExisting, requireSpace, requireWritable, resolveOutput, shardFile } from "./place.ts"
import { type Beginning, begin, hasLeftovers, mayBeResumed } from "./resume.ts"
import type { ConversionReport, RunOptions, VerifyReport } from "./types.ts"

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
  const started = performance.now()
  throwIfCancelled(options.signal)
  const place = await resolveOutput(plan, options.output)
  await requireWritable(place)
  if (!(await hasLeftovers(place))) await refuseExisting(place, options.force ?? false, new Set())

  const workspace = new Workspace()
  let lock: Lock | undefined
  try {
    if (place.kind === "folder") await workspace.makeFolder(place.path)
    lock = await acquireLock(place)
    const { report, resumed, nonFinite, verified } = await produce(plan, place, workspace, options, lock)
    workspace.keepAll()
    return {
      output: place.path,
      files: place.names,
      weights: plan.weightCount,
      resumed,
      bytesRead: report.bytesRead,
      bytesWritten: plan.bytesOut,
      seconds: (performance.now() - started) / 1000,
      threads: report.threads,
      level: machineInfo().level,
      io: report.io,
      memoryBytes: report.memoryBytes,
      nonFinite,
      verified,
    }
  } finally {
    await workspace.discardFiles()
    await lock?.release()
    await workspace.discardFolders()
  }
}

interface Produced {
  readonly report: JobReport
  readonly resumed: number
  readonly nonFinite: FinishedShard["nonFinite"]
  readonly verified: VerifyReport | undefined
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
    await journal.close()
    await removeJournal(place)
    return produced
  } catch (error) {
    await journal.close()
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
  { journal, kept, force, complete }: Beginning,
  finished: Map<string, FinishedShard>,
): Promise<Produced> {
  const temporary = complete ? (name: string) => name : partialName
  if (!complete) {
    workspace.addFiles(place.names.map((name) => join(place.folder, partialName(name))))
    await requireSpace(place, plan.bytesOut - [...kept.values()].reduce((bytes, { size }) => bytes + size, 0))
    for (const name of place.names) await workspace.makeFoldersFor(place.folder, name)
  }
  const targets = plan.shards.map((shard) => {
    const name = shardFile(place, shard)
    return { ...shard, name, path: join(place.folder, temporary(name)) }
  })
  const missing = targets.filter(({ name }) => !kept.has(name))
  for (const { path } of missing) await rm(path, { force: true })
  let isFolderFlushed = false
  const report = await convert(missing, options, (shard) => {
    // The files' entries in the folder; after that their contents are all that is new.
    if (!isFolderFlushed) journal.addTask(() => syncFolder(place.folder))
    isFolderFlushed = true
    journal.addShard(shard)
    finished.set(shard.name, shard)
  })
  await journal.settle()
  const nonFinite = totalNonFinite(targets.map(({ name }) => finished.get(name)!.nonFinite))
  refuseNonFinite(nonFinite, plan, options)
  const verified = await compare(targets, options)
  if (!complete) {
    await stageSmallFiles(plan, place, options)
    throwIfCancelled(options.signal)
    const stale = force && place.kind === "folder" ? await staleFiles(place) : []
    await commitFiles({ folder: place.folder, names: place.names, stale, journal })
  }
  return { report, resumed: kept.size, nonFinite, verified }
}

interface NamedTarget extends TargetFile {
  readonly name: string
}

/** Converts the targets; `onShard` is told of each that is whole and flushed. */
async function convert(
  targets: readonly NamedTarget[],
  options: RunOptions,
  onShard: (shard: FinishedShard) => void,
): Promise<JobReport> {
  const encoded = encodePlan(targets)
  const sourceCount = encoded.files.length - targets.length
  return await runWork(
    encoded,
    {
      kind: "convert",
      checkScales: options.nonFinite !== "allow",
      keepDone: options.resume === true,
      onFile: (index, { checksum, nonFinite: { count, step } }) => {
        const { name, size } = targets[index - sourceCount]!
        const tensor = step === undefined ? undefined : encoded.steps[step]?.name
        onShard({ name, size, checksum, nonFinite: { count, tensor } })
      },
    },
    options,
  )
}

function totalNonFinite(parts: readonly FinishedShard["nonFinite"][]): FinishedShard["nonFinite"] {
  const count = parts.reduce((sum, part) => sum + part.count, 0)
  return { count, tensor: parts.find((part) => part.count > 0)?.tensor }
}

function refuseNonFinite({ count, tensor }: FinishedShard["nonFinite"], plan: Plan, { nonFinite }: RunOptions): void {
  if (count === 0 || nonFinite !== "error") return
  const first = tensor === undefined ? "" : `, the first in tensor ${quote(tensor)}`
  const results = count === 1 ? "1 result is" : `${count} results are`
  throw new CheckError(
    `${escapeText(plan.checkpoint.path)}: ${results} NaN or infinite in ${plan.options.to}${first}`,
    {
      hint: "nothing was written; --non-finite warn lets them pass",
    },
  )
}

async function compare(targets: readonly TargetFile[], options: RunOptions): Promise<VerifyReport | undefined> {
  const verify = options.verify ?? "sample"
  if (verify === "none") return undefined
  const report = await compareTargets(targets, verify === "full" ? 0 : SAMPLE_TILES, options)
  if (report.first !== undefined) {
    throw new CheckError(`the output does not compare: ${describeMismatch(report.first, report.mismatchCount)}`, {
      hint: "nothing was written; disk, memory or this program is at fault: run `dequantizer doctor --selftest`",
    })
  }
  return report
}

/** Side files, config and index, under their temporary names. */
async function stageSmallFiles(plan: Plan, place: OutputPlace, options: RunOptions): Promise<void> {
  const path = (name: string) => join(place.folder, partialName(name))
  const bytesTotal = plan.sideFiles.reduce((bytes, file) => bytes + file.size, 0)
  let bytesDone = 0
  const advance = (bytes: number) => {
    throwIfCancelled(options.signal)
    bytesDone += bytes
    options.onProgress?.({ phase: "finish", bytesDone, bytesTotal, tensor: undefined })
  }
  advance(0)
  for (const file of plan.sideFiles) await copySideFile(file, path(file.name), advance)
  for (const file of plan.textFiles) await writeText(path(file.name), file.text)
  if (plan.config !== undefined) await writeText(path("config.json"), plan.config)
  if (plan.index !== undefined) await writeText(path(plan.index.name), plan.index.text)
}
