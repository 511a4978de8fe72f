/** Native jobs of the writer: progress with tensor names, failures as errors of the program. */
import { tensorFault } from "../containers/quote.ts"
import { CancelledError, type MalformedError } from "../errors.ts"
import { type JobFileReport, type JobReport, type JobResult, runJob } from "../native/job.ts"
import { reportError } from "../native/report.ts"
import type { EncodedPlan } from "../plan/encode.ts"
import { DEFAULT_MAX_MEMORY } from "../plan/measure.ts"
import { GROUP_ROLE } from "../schemes/scheme.ts"
import type { IoModes, WorkOptions } from "./types.ts"

export interface WorkKind {
  readonly kind: "convert" | "verify" | "digest"
  /** verify: tiles of each tensor; 0: all. */
  readonly sampleTiles?: number
  /** Whether a scale that no file may hold is a fault of the file. */
  readonly checkScales?: boolean
  /** convert: targets that are done stay when the run fails. */
  readonly keepDone?: boolean
  /** BLAKE3 of files and steps. */
  readonly hashes?: boolean | undefined
  /** Called for each file of the plan when nothing is left to do for it: a target that is flushed, a file that is read. */
  readonly onFile?: (index: number, report: JobFileReport) => void
  /** Default: as the options say, through the page cache. */
  readonly modes?: IoModes
}

/** Runs an encoded plan. A report with a mismatch of elements is returned; every other failure is thrown. */
export async function runWork(plan: EncodedPlan, work: WorkKind, options: WorkOptions): Promise<JobResult> {
  throwIfCancelled(options.signal)
  const report = await runJob(plan.bytes, {
    kind: work.kind,
    ...(work.modes ?? { io: options.io ?? "auto" }),
    threads: options.threads ?? 0,
    sync: work.kind === "convert",
    memoryMax: options.maxMemory ?? DEFAULT_MAX_MEMORY,
    sampleTiles: work.sampleTiles ?? 0,
    checkScales: work.checkScales,
    keepDone: work.keepDone,
    hashes: work.hashes,
    stepCount: plan.stepCount,
    fileCount: plan.files.length,
    onFile: work.onFile,
    signal: options.signal,
    onProgress: ({ bytesDone, bytesTotal, step }) =>
      options.onProgress?.({
        phase: work.kind === "digest" ? "check" : work.kind,
        bytesDone,
        bytesTotal,
        tensor: step === undefined ? undefined : plan.steps[step]?.name,
      }),
  })
  if (report.status === "cancelled") throw cancelled(options.signal)
  if (report.status === "bad_scale") throw badScale(plan, report)
  const error = reportError(report, plan.files)
  if (error !== undefined) throw error
  return report
}

/** Which tensor holds a scale that no arithmetic can use, or a group that there is not. */
function badScale({ steps }: EncodedPlan, { step, source }: JobReport): MalformedError {
  const origin = steps[step ?? -1]?.origin
  const found = origin?.kind === "weight" ? origin.weight.sources[source ?? -1] : undefined
  if (found === undefined) throw new Error("a job found a bad scale and does not say where")
  const stored = found.tensor
  const what =
    found.role === GROUP_ROLE
      ? "names a group that there is not"
      : "holds a scale that is NaN or infinite, or zero where it divides"
  return tensorFault(stored.file.path, stored.name, what, {
    hint: "--non-finite allow converts it as it is",
  })
}

/** Throws CancelledError once the caller's signal has fired. */
export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelled(signal)
}

/** The reason of the signal where it is a CancelledError, which knows the exit code; else a plain one. */
function cancelled(signal: AbortSignal | undefined): CancelledError {
  return signal?.reason instanceof CancelledError ? signal.reason : new CancelledError()
}
