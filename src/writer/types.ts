/** What a run of a plan takes and gives. */
import type { DenseDtype } from "../containers/dtype.ts"
import type { IoModeName } from "../native/abi.gen.ts"
import type { Part } from "../plan/part.ts"

/**
 * How files are read and written: by maps, through the page cache, around it (O_DIRECT), or as the file system and the
 * size make best.
 */
export type IoModeChoice = IoModeName

/** What a choice comes to for one run. */
export interface IoModes {
  /** Of the files that are read. */
  readonly io: IoModeName
  /** Of the files that are written. */
  readonly targetIo: IoModeName
  /** What was read or written is not kept in the page cache. */
  readonly dropCache: boolean
}

/** How native work is done; the same for running a plan and for verifying an output. */
export interface WorkOptions {
  /** 0 or absent: one for each allowed physical core. */
  readonly threads?: number | undefined
  /** Bound of the working buffers in bytes; default 1 GiB. */
  readonly maxMemory?: number | undefined
  readonly io?: IoModeChoice | undefined
  readonly onProgress?: ((progress: RunProgress) => void) | undefined
  /**
   * Cancels within milliseconds with a CancelledError: the signal's reason where that is one. A run leaves nothing
   * behind, unless it may be resumed.
   */
  readonly signal?: AbortSignal | undefined
}

export interface RunOptions extends WorkOptions {
  /** File or folder to write, of the plan's kind. */
  readonly output: string
  /** Replace an existing output; until the new one is complete the old one stays. */
  readonly force?: boolean | undefined
  /**
   * Go on with what an earlier run of the same plan has left: shards that it finished are checked and kept. And leave
   * finished shards for the next run, should this one be cancelled or an I/O error end it. Not with `force`.
   */
  readonly resume?: boolean | undefined
  /** Make only this part of an output folder; `finishParts` gives the output its names when all parts are there. */
  readonly part?: Part | undefined
  /** Of a part: finish the output if this part is the last one that ends. A later `finishParts` does no harm. */
  readonly finish?: boolean | undefined
  /** Write a manifest with the BLAKE3 of each file and each tensor. */
  readonly manifest?: boolean | undefined
  /** Read the output back and compare with the scalar decoder before it gets its final name; default "sample". */
  readonly verify?: "none" | "sample" | "full" | undefined
  /** What to do when results are NaN or infinite: "error" leaves no output; default "warn", which counts them. */
  readonly nonFinite?: "error" | "warn" | "allow" | undefined
}

export interface VerifyOptions extends WorkOptions {
  /** Path of the checkpoint that the output was made from; absent: only the output's own structure is checked. */
  readonly source?: string | undefined
  /** Tiles of each tensor that are compared, spread evenly, the first and the last among them; "all": every element. */
  readonly sample?: number | "all" | undefined
  /** Compare every file with the manifest that `RunOptions.manifest` wrote. */
  readonly manifest?: boolean | undefined
}

export interface RunProgress {
  /** check: files are read for their checksums. */
  readonly phase: "check" | "convert" | "verify" | "finish"
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
  /** No problems and no mismatch. */
  readonly ok: boolean
  /**
   * Sentences on what differs before any value is looked at: tensors that are missing or have another dtype or shape,
   * settings that declare a quantization which is gone. Values are compared only where there are none.
   */
  readonly problems: readonly string[]
  /** Tensors of the output. */
  readonly tensors: number
  /** Values of decoded and cast tensors, bytes of copied ones. */
  readonly elementsCompared: number
  readonly elementsTotal: number
  readonly mismatchCount: number
  readonly first: Mismatch | undefined
  /** Files and bytes whose hashes were compared with the manifest's. */
  readonly manifest?: { readonly files: number; readonly bytes: number } | undefined
  readonly seconds: number
}

export interface ConversionReport {
  readonly output: string
  /** Names of the files that were made; those of a part have them once the parts are finished. */
  readonly files: readonly string[]
  readonly part: Part | undefined
  readonly weights: number
  /** Shards of an earlier run that were kept. */
  readonly resumed: number
  readonly bytesRead: number
  readonly bytesWritten: number
  readonly seconds: number
  readonly threads: number
  readonly level: string
  /** How the input was read and the output written. */
  readonly io: Exclude<IoModeChoice, "auto">
  readonly targetIo: Exclude<IoModeChoice, "auto">
  /** A file whose file system cannot be read or written around the page cache, where that was wanted. */
  readonly directRefused: string | undefined
  /** Working buffers in bytes, at the most. */
  readonly memoryBytes: number
  /** Results that are NaN or infinite, and the first tensor that has one. */
  readonly nonFinite: { readonly count: number; readonly tensor: string | undefined }
  /** The output was there, complete, before the run, which only looked at it: `nonFinite` counts nothing. */
  readonly wasComplete: boolean
  readonly verified: VerifyReport | undefined
  /** What the finishing of the output came to, where this part was the last one and was to do it. */
  readonly finished: FinishReport | undefined
}

export interface FinishOptions extends WorkOptions {
  /** full, the default: each file is read and compared with the checksum that its part noted. none: its size only. */
  readonly verify?: "none" | "full" | undefined
}

export interface FinishReport {
  readonly output: string
  readonly files: readonly string[]
  /** 0 where the output was complete before, and nothing of its parts was left. */
  readonly parts: number
  readonly bytes: number
  /** Bytes that were compared with their checksums. */
  readonly bytesChecked: number
  readonly nonFinite: ConversionReport["nonFinite"]
  readonly seconds: number
}
