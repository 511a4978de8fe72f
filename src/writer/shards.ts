/**
 * The shards of a run, under their temporary names: converted, or kept of an earlier run, noted in the journal, and compared.
 * What a whole run and the run of a part have in common.
 */
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { escapeText, quote } from "../containers/quote.ts"
import { CheckError } from "../errors.ts"
import type { JobReport } from "../native/job.ts"
import { machineInfo } from "../native/machine.ts"
import { encodePlan, type TargetFile } from "../plan/encode.ts"
import type { Plan } from "../plan/plan.ts"
import type { Workspace } from "./cleanup.ts"
import { finalName, partialName } from "./commit.ts"
import { compareTargets, describeMismatch, SAMPLE_TILES } from "./compare.ts"
import { syncFolder } from "./files.ts"
import { chooseIo } from "./io-modes.ts"
import { runWork } from "./job.ts"
import type { FinishedShard } from "./journal.ts"
import { type OutputPlace, requireSpace, shardFile } from "./place.ts"
import type { Beginning } from "./resume.ts"
import type { IoModes, RunOptions, VerifyReport } from "./types.ts"

export interface NamedTarget extends TargetFile {
  readonly name: string
}

/** By the name of the shard: the hash of its file, and those of tensors by their names (its own among others). */
export type ShardHashes = Map<string, { readonly file: string; readonly tensors: ReadonlyMap<string, string> }>

interface ConvertReport extends JobReport {
  /** A file that could not be reached around the page cache, under the name that it gets. */
  readonly directRefused: string | undefined
}

export interface MadeShards {
  readonly report: ConvertReport
  readonly targets: readonly NamedTarget[]
  /** Of those that were made now, where a manifest is wanted. */
  readonly hashes: ShardHashes
  readonly nonFinite: FinishedShard["nonFinite"]
  readonly verified: VerifyReport | undefined
}

/**
 * Makes the shards of `plan` that are not kept. `finished`, which has those that are, gets each that is noted. Throws
 * CheckError where results are not finite and may not be, or where the shards do not compare.
 */
export async function makeShards(
  plan: Plan,
  place: OutputPlace,
  options: RunOptions,
  { journal, kept, complete }: Pick<Beginning, "journal" | "kept" | "complete">,
  finished: Map<string, FinishedShard>,
): Promise<MadeShards> {
  const targets = plan.shards.map((shard) => {
    const name = shardFile(place, shard)
    return { ...shard, name, path: join(place.folder, complete ? name : partialName(name)) }
  })
  const missing = targets.filter(({ name }) => !kept.has(name))
  if (complete && missing.length > 0) throw new Error("a complete output lacks shards")
  for (const { path } of missing) await rm(path, { force: true })
  let isFolderFlushed = false
  const hashes: ShardHashes = new Map()
  const modes = await chooseIo(options.io ?? "auto", plan, place.folder)
  const report = await convert(missing, modes, options, hashes, (shard) => {
    // The files' entries in the folder; after that their contents are all that is new.
    if (!isFolderFlushed) journal?.addTask(() => syncFolder(place.folder))
    isFolderFlushed = true
    journal?.addShard(shard)
    finished.set(shard.name, shard)
  })
  await journal?.settle()
  const nonFinite = totalNonFinite(targets.map(({ name }) => finished.get(name)!.nonFinite))
  refuseNonFinite(nonFinite, plan, options)
  return { report, targets, hashes, nonFinite, verified: await compare(targets, options) }
}

/** Room on the device and folders for what is still to be written; from here on the run's files go if it fails. */
export async function prepareFolder(
  plan: Plan,
  place: OutputPlace,
  workspace: Workspace,
  kept: Beginning["kept"],
): Promise<void> {
  workspace.addFiles(place.names.map((name) => join(place.folder, partialName(name))))
  await requireSpace(place, plan.bytesOut - [...kept.values()].reduce((bytes, { size }) => bytes + size, 0))
  for (const name of place.names) await workspace.makeFoldersFor(place.folder, name)
}

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

export function totalNonFinite(parts: readonly FinishedShard["nonFinite"][]): FinishedShard["nonFinite"] {
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

/** What every run tells. */
export function reportOf(plan: Plan, place: OutputPlace, made: MadeShards, started: number) {
  const { bytesRead, threads, io, targetIo, directRefused, memoryBytes } = made.report
  return {
    output: place.path,
    files: place.names,
    weights: plan.weightCount,
    bytesRead,
    bytesWritten: plan.bytesOut,
    seconds: (performance.now() - started) / 1000,
    threads,
    level: machineInfo().level,
    io,
    targetIo,
    directRefused,
    memoryBytes,
    nonFinite: made.nonFinite,
    verified: made.verified,
  }
}
