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
import { commitFiles, finalName, partialName } from "./commit.ts"
import { compareTargets, describeMismatch, SAMPLE_TILES } from "./compare.ts"
import { EMPTY_HASH, hashFiles } from "./digest.ts"
import { copySideFile, syncFolder, writeText } from "./files.ts"
import { chooseIo } from "./io-modes.ts"
import { runWork, throwIfCancelled } from "./job.ts"
import { type FinishedShard, removeJournal } from "./journal.ts"
import { staleFiles } from "./leftovers.ts"
import { acquireLock, type Lock } from "./lock.ts"
import { type ManifestFile, manifestText } from "./manifest.ts"
import {
  manifestName,
  type OutputPlace,
  refuseExisting,
  requireSpace,
  requireWritable,
  resolveOutput,
  shardFile,
} from "./place.ts"
import { type Beginning, begin, hasLeftovers, mayBeResumed } from "./resume.ts"
import type { ConversionReport, IoModes, RunOptions, VerifyReport } from "./types.ts"

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
  const place = await resolveOutput(plan, options.output, options.manifest)
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
      targetIo: report.targetIo,
      directRefused: report.directRefused,
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

interface ConvertReport extends JobReport {
  /** A file that could not be reached around the page cache, under the name that it gets. */
  readonly directRefused: string | undefined
}

interface Produced {
  readonly report: ConvertReport
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
  const hashes: ShardHashes = new Map()
  const modes = await chooseIo(options.io ?? "auto", plan, place.folder)
  const report = await convert(missing, modes, options, hashes, (shard) => {
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
    if (options.manifest) await stageManifest(place, targets, hashes, options)
    throwIfCancelled(options.signal)
    const stale = force ? await staleFiles(place) : []
    await commitFiles({ folder: place.folder, names: place.names, stale, journal })
  }
  return { report, resumed: kept.size, nonFinite, verified }
}

interface NamedTarget extends TargetFile {
  readonly name: string
}

/** By the name of the shard: the hash of its file, and those of tensors by their names (its own among others). */
type ShardHashes = Map<string, { readonly file: string; readonly tensors: ReadonlyMap<string, string> }>

/** Converts the targets; `onShard` is told of each that is whole and flushed, `hashes` gets what a manifest needs. */
async function convert(
  targets: readonly NamedTarget[],
  modes: IoModes,
  options: RunOptions,
  hashes: ShardHashes,
  onShard: (shard: FinishedShard) => void,
): Promise<ConvertReport> {
  const encoded = encodePlan(targets)
  const sourceCount = encoded.files.length - targets.length
  const files = new Map<string, string>()
  const report = await runWork(
    encoded,
    {
      kind: "convert",
      modes,
      checkScales: options.nonFinite !== "allow",
      keepDone: options.resume === true,
      hashes: options.manifest,
      onFile: (index, { checksum, hash, nonFinite: { count, step } }) => {
        const { name, size } = targets[index - sourceCount]!
        const tensor = step === undefined ? undefined : encoded.steps[step]?.name
        files.set(name, hash)
        onShard({ name, size, checksum, nonFinite: { count, tensor } })
      },
    },
    options,
  )
  if (options.manifest) {
    const tensors = new Map(encoded.steps.map(({ name }, i) => [name, report.stepHashes[i]!]))
    for (const { name } of targets) hashes.set(name, { file: files.get(name)!, tensors })
  }
  const directRefused =
    report.refusedFile === undefined ? undefined : finalName(encoded.files[report.refusedFile]!.path)
  return { ...report, directRefused }
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

/** The manifest, under its temporary name: of all files that lie under theirs. */
async function stageManifest(
  place: OutputPlace,
  targets: readonly NamedTarget[],
  hashes: ShardHashes,
  options: RunOptions,
): Promise<void> {
  const path = (name: string) => join(place.folder, partialName(name))
  // Shards of an earlier run, and small files; all others were hashed while they were written.
  const kept = targets.filter(({ name }) => !hashes.has(name))
  const own = manifestName(place)
  const small = place.names.filter((name) => name !== own && !targets.some((target) => target.name === name))
  const requests = [
    ...kept.map((target) => ({ path: path(target.name), parts: target.tensors })),
    ...small.map((name) => ({ path: path(name), parts: [] })),
  ]
  const hashed = await hashFiles(requests, options)
  for (const [i, { name, tensors }] of kept.entries()) {
    const { hash, parts } = hashed[i]!
    hashes.set(name, { file: hash, tensors: new Map(tensors.map((tensor, t) => [tensor.name, parts[t]!])) })
  }
  const files = new Map<string, ManifestFile>()
  for (const [i, name] of small.entries()) {
    const { size, hash } = hashed[kept.length + i]!
    files.set(name, { name, size, hash, tensors: [] })
  }
  for (const { name, size, tensors } of targets) {
    const known = hashes.get(name)!
    const list = tensors.map((tensor) => ({ ...tensor, hash: known.tensors.get(tensor.name) ?? EMPTY_HASH }))
    files.set(name, { name, size, hash: known.file, tensors: list })
  }
  await writeText(path(own), manifestText(place.names.flatMap((name) => files.get(name) ?? [])))
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
  // A file of the input that is called as the manifest gives way to it.
  const own = options.manifest ? manifestName(place) : undefined
  for (const file of plan.sideFiles) if (file.name !== own) await copySideFile(file, path(file.name), advance)
  for (const file of plan.textFiles) await writeText(path(file.name), file.text)
  if (plan.config !== undefined) await writeText(path("config.json"), plan.config)
  if (plan.index !== undefined) await writeText(path(plan.index.name), plan.index.text)
}
