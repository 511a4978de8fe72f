/**
 * Jobs: the native library works through an encoded plan on threads of its own, and this side polls it. All sizes are
 * bytes, all times seconds.
 */

import {
  FileReport as FileReportStruct,
  IoMode,
  type IoModeName,
  JobKind,
  type JobKindName,
  JobOptions,
  Measure,
  NONE,
  Operation,
  type OperationName,
  Progress,
  Report,
  Status,
  type StatusName,
} from "./abi.gen.ts"
import { assertOk, native, statusName } from "./library.ts"
import { limitError } from "./report.ts"
import { enumName, packStruct, safeNumber, unpackStruct } from "./struct.ts"

export interface JobSettings {
  readonly kind: JobKindName
  /** How sources are read. */
  readonly io: IoModeName
  /** How targets are written; default: through the page cache. */
  readonly targetIo?: IoModeName | undefined
  /** Whether what was read and written soon leaves the page cache; default false. */
  readonly dropCache?: boolean | undefined
  /** 0: one for each allowed physical core. */
  readonly threads: number
  /** fsync each target when its last byte is written. */
  readonly sync: boolean
  /** Bound of all working buffers together. */
  readonly memoryMax: number
  /** verify: tiles compared for each step; 0: all. */
  readonly sampleTiles: number
  /** Whether a scale that is NaN or infinite, or a zero that divides, ends the job with `bad_scale`; default false. */
  readonly checkScales?: boolean | undefined
  /** convert: whether targets that were done before the job failed stay; default false. */
  readonly keepDone?: boolean | undefined
  /** convert, digest: whether files and steps get BLAKE3 hashes; default false. */
  readonly hashes?: boolean | undefined
}

export interface JobProgress {
  /** Bytes of dense tensors written (or compared), and in all. */
  readonly bytesDone: number
  readonly bytesTotal: number
  /** Index of a step that is being worked on. */
  readonly step: number | undefined
  /** Files whose report says `done`. */
  readonly filesDone: number
  readonly running: boolean
}

/** What is known of one file of a job's plan, while the job runs and after it. */
export interface JobFileReport {
  /** Of a target that was written, or of what a digest job read of a source (kernels/convert/seal.zig). */
  readonly checksum: bigint
  /** Results in this file that are NaN or infinite, and the first step that has one. */
  readonly nonFinite: { readonly count: number; readonly step: number | undefined }
  /** A target is whole and, where the job syncs, on its device; a source is read to its end. */
  readonly done: boolean
  /** BLAKE3 in hex, of a file that is done, where the job hashes. */
  readonly hash: string
}

export interface JobReport {
  readonly status: StatusName
  readonly errno: number
  readonly operation: OperationName
  /** Index of the plan's file that the failure is about. */
  readonly file: number | undefined
  readonly step: number | undefined
  /** Position among the step's sources of what the failure is about. */
  readonly source: number | undefined
  readonly threads: number
  readonly io: Exclude<IoModeName, "auto">
  readonly targetIo: Exclude<IoModeName, "auto">
  /** Index of a file that `direct` was wanted for and that went through the page cache. */
  readonly refusedFile: number | undefined
  /** Working buffers, and what of maps is in the process, at the most. */
  readonly memoryBytes: number
  readonly bytesRead: number
  readonly bytesWritten: number
  readonly elementsCompared: number
  /** Results that are NaN or infinite, and the first step that has one. */
  readonly nonFinite: { readonly count: number; readonly step: number | undefined }
  readonly mismatch: JobMismatch | undefined
  readonly seconds: number
}

export interface JobMismatch {
  /** Elements that differ. */
  readonly count: number
  /** First step with one, the element's position in its dense tensor, and its bits. */
  readonly step: number
  readonly element: number
  readonly found: number
  readonly expected: number
}

export interface JobMeasure {
  readonly threads: number
  readonly io: Exclude<IoModeName, "auto">
  readonly targetIo: Exclude<IoModeName, "auto">
  readonly tiles: number
  readonly memoryBytes: number
}

export interface WaitOptions {
  /** Cancels the job within milliseconds; `finish` then resolves with the status "cancelled". */
  readonly signal?: AbortSignal | undefined
  /** Called at each poll, and once at the end. */
  readonly onProgress?: ((progress: JobProgress) => void) | undefined
}

/** Milliseconds between polls: short at first and when the end is near, so that nobody waits for one who is ready. */
const POLL_MS_MIN = 1
const POLL_MS_MAX = 50
/** While the device takes what is written. */
const POLL_MS_FLUSH = 5

/** How long to wait for the next poll, at the pace of the work so far. */
function pollDelay({ bytesDone, bytesTotal }: JobProgress, elapsed: number): number {
  if (bytesDone === bytesTotal) return POLL_MS_FLUSH
  const left = bytesDone === 0 ? elapsed : (elapsed * (bytesTotal - bytesDone)) / bytesDone
  return Math.min(POLL_MS_MAX, Math.max(POLL_MS_MIN, Math.min(left, elapsed) / 2))
}

/** A running job. Dispose it in any case: that cancels it, waits for its threads and frees what it holds. */
export class Job implements Disposable {
  // The plan stays reachable until the job is gone: native code keeps a copy, and a debugger finds the original here.
  #plan: Uint8Array | undefined
  readonly #handle: number
  readonly #progress = new Uint8Array(Progress.size)

  private constructor(handle: number, plan: Uint8Array) {
    this.#handle = handle
    this.#plan = plan
  }

  /**
   * Starts `plan` (see kernels/abi.zig: Plan). Limits of memory and of jobs are errors here (RefusedError, IoError,
   * UnsupportedError); everything that happens to files comes with the report.
   */
  static start(plan: Uint8Array, settings: JobSettings): Job {
    const options = packOptions(settings)
    const handle = new Uint32Array(1)
    const status = statusName(native().dq_job_start(plan, plan.byteLength, options, handle))
    const limit = limitError(status)
    if (limit !== undefined) throw limit
    assertOk("dq_job_start", Status[status])
    return new Job(handle[0]!, plan)
  }

  poll(): JobProgress {
    this.#assertAlive()
    assertOk("dq_job_poll", native().dq_job_poll(this.#handle, this.#progress))
    return readProgress(this.#progress)
  }

  /** Asks the job to stop; it ends within milliseconds. */
  cancel(): void {
    this.#assertAlive()
    assertOk("dq_job_cancel", native().dq_job_cancel(this.#handle))
  }

  /** Waits for the job's end, whatever it is, and returns its report. */
  async finish(options: WaitOptions = {}): Promise<JobReport> {
    await waitUntilEnd(this, options)
    return this.report()
  }

  /** What an ended job has to say. */
  report(): JobReport {
    this.#assertAlive()
    const bytes = new Uint8Array(Report.size)
    assertOk("dq_job_report", native().dq_job_report(this.#handle, bytes))
    return readReport(bytes)
  }

  /** Of file `index` of the plan. */
  file(index: number): JobFileReport {
    this.#assertAlive()
    const bytes = new Uint8Array(FileReportStruct.size)
    assertOk("dq_job_file", native().dq_job_file(this.#handle, index, bytes))
    const values = unpackStruct(FileReportStruct, bytes)
    return {
      checksum: values.checksum,
      nonFinite: { count: safeNumber(values.non_finite_count), step: optional(values.non_finite_step) },
      done: values.is_done !== 0,
      hash: hex(values.hash),
    }
  }

  /** BLAKE3 in hex of the bytes of each of `count` steps, of a job that hashes and has ended. */
  stepHashes(count: number): string[] {
    this.#assertAlive()
    if (count === 0) return []
    const bytes = new Uint8Array(count * HASH_SIZE)
    assertOk("dq_job_hashes", native().dq_job_hashes(this.#handle, 0, bytes, count))
    return Array.from({ length: count }, (_, i) => hex(bytes.subarray(i * HASH_SIZE, (i + 1) * HASH_SIZE)))
  }

  dispose(): void {
    if (this.#plan === undefined) return
    this.#plan = undefined
    assertOk("dq_job_destroy", native().dq_job_destroy(this.#handle))
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #assertAlive(): void {
    if (this.#plan === undefined) throw new Error("the job is disposed")
  }
}

/** What native work that is polled has in common. */
export interface Polled {
  poll(): JobProgress
  cancel(): void
}

/** Polls until the work has ended, whatever the end is. */
export async function waitUntilEnd(work: Polled, { signal, onProgress }: WaitOptions): Promise<void> {
  const onAbort = () => work.cancel()
  if (signal?.aborted) onAbort()
  signal?.addEventListener("abort", onAbort, { once: true })
  try {
    const started = performance.now()
    for (;;) {
      const progress = work.poll()
      onProgress?.(progress)
      if (!progress.running) return
      await Bun.sleep(pollDelay(progress, performance.now() - started))
    }
  } finally {
    signal?.removeEventListener("abort", onAbort)
  }
}

/** Reads a Progress of kernels/abi.zig. */
export function readProgress(bytes: Uint8Array): JobProgress {
  const values = unpackStruct(Progress, bytes)
  return {
    bytesDone: safeNumber(values.bytes_done),
    bytesTotal: safeNumber(values.bytes_total),
    step: optional(values.step),
    filesDone: values.files_done,
    running: values.running !== 0,
  }
}

/** Reads a Report of kernels/abi.zig. */
export function readReport(bytes: Uint8Array): JobReport {
  const values = unpackStruct(Report, bytes)
  return {
    status: statusName(values.status),
    errno: values.errno,
    operation: enumName(Operation, values.operation),
    file: optional(values.file),
    step: optional(values.step),
    source: optional(values.source),
    threads: values.thread_count,
    io: resolvedIo(values.io),
    targetIo: resolvedIo(values.target_io),
    refusedFile: optional(values.refused_file),
    memoryBytes: safeNumber(values.memory_bytes),
    bytesRead: safeNumber(values.bytes_read),
    bytesWritten: safeNumber(values.bytes_written),
    elementsCompared: safeNumber(values.elements_compared),
    nonFinite: { count: safeNumber(values.non_finite_count), step: optional(values.non_finite_step) },
    mismatch:
      values.mismatch_step === NONE
        ? undefined
        : {
            count: safeNumber(values.mismatch_count),
            step: values.mismatch_step,
            element: safeNumber(values.mismatch_element),
            found: values.mismatch_found,
            expected: values.mismatch_expected,
          },
    seconds: Number(values.elapsed_ns) / 1e9,
  }
}

export interface RunJobOptions extends JobSettings, WaitOptions {
  /** Steps of the plan; given with `hashes`. */
  readonly stepCount?: number
  /** Files of the plan; given with `onFile`, which is called once for each file, soon after nothing is left to do for it. */
  readonly fileCount?: number
  readonly onFile?: ((index: number, report: JobFileReport) => void) | undefined
}

/** A report, with the hashes of the steps where they were asked for and the job ended well. */
export interface JobResult extends JobReport {
  readonly stepHashes: readonly string[]
}

/** Runs `plan` to its end and returns the report, of a failure too. */
export async function runJob(plan: Uint8Array, options: RunJobOptions): Promise<JobResult> {
  using job = Job.start(plan, options)
  const report = await finishJob(job, options)
  const hashed = options.hashes === true && report.status === "ok" ? (options.stepCount ?? 0) : 0
  return { ...report, stepHashes: job.stepHashes(hashed) }
}

async function finishJob(job: Job, options: RunJobOptions): Promise<JobReport> {
  const { onFile, onProgress, fileCount = 0 } = options
  if (onFile === undefined) return await job.finish(options)
  const open = new Set(Array.from({ length: fileCount }, (_, i) => i))
  let told = 0
  const tell = ({ filesDone }: JobProgress): void => {
    if (filesDone === told) return
    for (const index of open) {
      const report = job.file(index)
      if (!report.done) continue
      open.delete(index)
      told += 1
      onFile(index, report)
    }
  }
  return await job.finish({
    signal: options.signal,
    onProgress: (progress) => {
      tell(progress)
      onProgress?.(progress)
    },
  })
}

/** What a job would need; `undefined` where its smallest working set does not fit `settings.memoryMax`. Touches no file. */
export function measureJob(plan: Uint8Array, settings: JobSettings): JobMeasure | undefined {
  const bytes = new Uint8Array(Measure.size)
  const status = native().dq_job_measure(plan, plan.byteLength, packOptions(settings), bytes)
  if (status === Status.memory_limit) return undefined
  assertOk("dq_job_measure", status)
  const values = unpackStruct(Measure, bytes)
  return {
    threads: values.thread_count,
    io: resolvedIo(values.io),
    targetIo: resolvedIo(values.target_io),
    tiles: safeNumber(values.tile_count),
    memoryBytes: safeNumber(values.memory_bytes),
  }
}

function packOptions(settings: JobSettings): Uint8Array {
  return packStruct(JobOptions, {
    kind: JobKind[settings.kind],
    io: IoMode[settings.io],
    thread_count: settings.threads,
    sync: settings.sync ? 1 : 0,
    memory_max: settings.memoryMax,
    sample_tiles: settings.sampleTiles,
    check_scales: settings.checkScales === true ? 1 : 0,
    keep_done: settings.keepDone === true ? 1 : 0,
    hashes: settings.hashes === true ? 1 : 0,
    target_io: IoMode[settings.targetIo ?? "auto"],
    drop_cache: settings.dropCache === true ? 1 : 0,
  })
}

/** Bytes of a BLAKE3 hash. */
const HASH_SIZE = 32

function hex(bytes: ArrayLike<number>): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")
}

function resolvedIo(value: number): Exclude<IoModeName, "auto"> {
  const name = enumName(IoMode, value)
  if (name === "auto") throw new Error("the library left the I/O mode open")
  return name
}

function optional(index: number): number | undefined {
  return index === NONE ? undefined : index
}
