/** What a run of a plan takes and gives. */
import type { DenseDtype } from "../containers/dtype.ts"

export type IoModeChoice = "auto" | "mmap" | "pread"

export interface RunOptions {
  /** File or folder to write, of the plan's kind. */
  readonly output: string
  /** Replace an existing output. */
  readonly force?: boolean
  /** 0 or absent: one for each allowed physical core. */
  readonly threads?: number
  /** Bound of the working buffers in bytes; default 1 GiB. */
  readonly maxMemory?: number
  readonly io?: IoModeChoice
  /** Read the output back and compare with the scalar decoder before it gets its final name; default "sample". */
  readonly verify?: "none" | "sample" | "full"
  /** What to do when results are NaN or infinite; default "warn". */
  readonly nonFinite?: "error" | "warn" | "allow"
  readonly onProgress?: (progress: RunProgress) => void
  /** Cancels within milliseconds; the run then throws CancelledError and leaves nothing behind. */
  readonly signal?: AbortSignal
}

export interface RunProgress {
  readonly phase: "convert" | "verify" | "finish"
  readonly bytesDone: number
  readonly bytesTotal: number
  /** Dense name of a tensor that is being worked on. */
  readonly tensor: string | undefined
}

/** One element that differs. */
export interface Mismatch {
  readonly tensor: string
  /** Position in the dense tensor, row-major. */
  readonly index: number
  readonly dtype: DenseDtype | "bytes"
  /** Bits, as an unsigned number of the dtype's width. */
  readonly found: number
  readonly expected: number
}

export interface VerifyReport {
  readonly ok: boolean
  readonly tensors: number
  readonly elementsCompared: number
  readonly elementsTotal: number
  readonly mismatchCount: number
  readonly first: Mismatch | undefined
  readonly seconds: number
}

export interface ConversionReport {
  readonly output: string
  readonly files: readonly string[]
  readonly weights: number
  readonly bytesRead: number
  readonly bytesWritten: number
  readonly seconds: number
  readonly threads: number
  readonly level: string
  readonly io: Exclude<IoModeChoice, "auto">
  /** Working buffers in bytes, at the most. */
  readonly memoryBytes: number
  /** Results that are NaN or infinite, and the first tensor that has one. */
  readonly nonFinite: { readonly count: number; readonly tensor: string | undefined }
  readonly verified: VerifyReport | undefined
}
