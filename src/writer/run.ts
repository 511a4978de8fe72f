/**
 * Running a plan. Everything is written under temporary names and flushed, checked, and only then named; what makes
 * the output complete (its index, or its one weights file) comes last. A failure or a cancel takes away what the run
 * has made and leaves an older output as it was.
 */
import { join } from "node:path"
import { escapeText, quote } from "../containers/quote.ts"
import { CheckError } from "../errors.ts"
import type { JobReport } from "../native/job.ts"
import { machineInfo } from "../native/machine.ts"
import { encodePlan, type TargetFile } from "../plan/encode.ts"
import type { OutputTensor, Plan } from "../plan/plan.ts"
import { Workspace } from "./cleanup.ts"
import { commitFiles, partialName } from "./commit.ts"
import { compareTargets, describeMismatch, SAMPLE_TILES } from "./compare.ts"
import { copySideFile, writeText } from "./files.ts"
import { runWork, throwIfCancelled } from "./job.ts"
import { recover, staleFiles } from "./leftovers.ts"
import { acquireLock, hasLockFile, type Lock, lockName } from "./lock.ts"
import { type OutputPlace, refuseExisting, requireSpace, requireWritable, resolveOutput } from "./place.ts"
import type { ConversionReport, RunOptions, VerifyReport } from "./types.ts"

/**
 * Writes the output of a plan.
 *
 * Throws RefusedError where the output exists (without `force`), is or lies in the input, or is being written by
 * another run; IoError for space (before the work starts), permissions and sources that change; CheckError where the
 * output does not compare or `nonFinite` is "error" and some result is not finite; CancelledError when the signal
 * fires.
 */
export async function runPlan(plan: Plan, options: RunOptions): Promise<ConversionReport> {
  const started = performance.now()
  throwIfCancelled(options.signal)
  const place = await resolveOutput(plan, options.output)
  await requireWritable(place)
  if (!(await hasLockFile(place))) await refuseExisting(place, options.force ?? false, new Set())

  const workspace = new Workspace()
  let lock: Lock | undefined
  try {
    if (place.kind === "folder") await workspace.makeFolder(place.path)
    lock = await acquireLock(place)
    const { report, verified } = await produce(plan, place, workspace, options, lock)
    workspace.keepAll()
    return {
      output: place.path,
      files: place.names,
      weights: plan.weightCount,
      bytesRead: report.bytesRead,
      bytesWritten: plan.bytesOut,
      seconds: (performance.now() - started) / 1000,
      threads: report.threads,
      level: machineInfo().level,
      io: report.io,
      memoryBytes: report.memoryBytes,
      nonFinite: {
        count: report.nonFinite.count,
        tensor: report.nonFiniteTensor?.name,
      },
      verified,
    }
  } finally {
    await workspace.discardFiles()
    await lock?.release()
    await workspace.discardFolders()
  }
}

interface Produced {
  readonly report: JobReport & { readonly nonFiniteTensor: OutputTensor | undefined }
  readonly verified: VerifyReport | undefined
}

/** All work under the lock, up to the moment in which the output has its names. */
async function produce(
  plan: Plan,
  place: OutputPlace,
  workspace: Workspace,
  options: RunOptions,
  lock: Lock,
): Promise<Produced> {
  const force = options.force ?? false
  if (lock.takenOver) await recover(place)
  await refuseExisting(place, force, new Set([lockName(place)]))
  await requireSpace(place, plan.bytesOut)
  for (const name of place.names) await workspace.makeFoldersFor(place.folder, name)
  workspace.addFiles(place.names.map((name) => join(place.folder, partialName(name))))

  const targets = shardTargets(plan, place)
  const report = await convert(targets, plan, options)
  const verified = await compare(targets, options)
  await stageSmallFiles(plan, place, options)
  throwIfCancelled(options.signal)
  const stale = force && place.kind === "folder" ? await staleFiles(place) : []
  await commitFiles({ folder: place.folder, names: place.names, stale })
  return { report, verified }
}

function shardTargets(plan: Plan, place: OutputPlace): TargetFile[] {
  return plan.shards.map((shard) => ({
    ...shard,
    path: join(place.folder, partialName(place.kind === "file" ? place.names[0]! : shard.name)),
  }))
}

async function convert(targets: readonly TargetFile[], plan: Plan, options: RunOptions): Promise<Produced["report"]> {
  const encoded = encodePlan(targets)
  const report = await runWork(encoded, { kind: "convert", checkScales: options.nonFinite !== "allow" }, options)
  const { count, step } = report.nonFinite
  const nonFiniteTensor = step === undefined ? undefined : encoded.steps[step]
  if (count > 0 && options.nonFinite === "error") {
    const first = nonFiniteTensor === undefined ? "" : `, the first in tensor ${quote(nonFiniteTensor.name)}`
    const results = count === 1 ? "1 result is" : `${count} results are`
    throw new CheckError(
      `${escapeText(plan.checkpoint.path)}: ${results} NaN or infinite in ${plan.options.to}${first}`,
      {
        hint: "nothing was written; --non-finite warn lets them pass",
      },
    )
  }
  return { ...report, nonFiniteTensor }
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
