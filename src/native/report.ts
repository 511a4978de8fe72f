/** Turns the report of a job that failed into the error that the user sees. */
import { statSync } from "node:fs"
import {
  CancelledError,
  CheckError,
  type DequantizerError,
  IoError,
  RefusedError,
  UnsupportedError,
} from "../errors.ts"
import type { OperationName, StatusName } from "./abi.gen.ts"
import { describeErrno } from "./errno.ts"
import type { JobReport } from "./job.ts"

/** A file of the plan, as messages name it. */
export interface ReportFile {
  readonly path: string
  /** Source: size when its header was read. Target: size planned. */
  readonly size: number
}

const DOING: Record<OperationName, string> = {
  none: "",
  open: "cannot be opened",
  stat: "cannot be examined",
  map: "cannot be mapped into memory",
  read: "cannot be read",
  allocate: "cannot be given its size",
  write: "cannot be written",
  sync: "cannot be flushed to the device",
  thread: "a thread cannot be started",
}

/**
 * The error of a report; undefined when the job ended well. `files` are the plan's, in its order. A mismatch has a
 * report of its own (`JobReport.mismatch`); here it becomes an error only where a whole file differs from its plan.
 */
export function reportError(report: JobReport, files: readonly ReportFile[]): DequantizerError | undefined {
  const file = report.file === undefined ? undefined : files[report.file]
  switch (report.status) {
    case "ok":
      return undefined
    case "cancelled":
      return new CancelledError()
    case "mismatch":
      return file === undefined ? undefined : fileMismatch(file, report.operation)
    case "source_changed":
      return new IoError(`${file?.path ?? "source"}: source changed while it was read${found(file)}`, {
        hint: "run again when nothing writes to it",
      })
    case "io":
      return ioError(report, file)
    default:
      return limitError(report.status) ?? fault(report.status)
  }
}

/** The error of a status that tells of a limit of the machine or of the caller, and of no file. */
export function limitError(status: StatusName): DequantizerError | undefined {
  switch (status) {
    case "memory_limit":
      return new RefusedError("the working buffers do not fit the memory limit", {
        hint: "raise --max-memory or lower -j",
      })
    case "out_of_memory":
      return new IoError("out of memory for the working buffers", { hint: "lower -j or --max-memory" })
    case "unsupported":
      return new UnsupportedError("this CPU cannot run the level that DQ_LEVEL names")
    case "too_many":
      return new UnsupportedError("too many jobs run at once in this process")
    default:
      return undefined
  }
}

function fault(status: StatusName): never {
  throw new Error(`a job ended with ${status}`)
}

function ioError(report: JobReport, file: ReportFile | undefined): IoError {
  const row = describeErrno(report.errno)
  const what = DOING[report.operation]
  const text =
    file === undefined ? `${what}: ${row.text} (${row.name})` : `${file.path}: ${what}: ${row.text} (${row.name})`
  return new IoError(text, row.hint === undefined ? {} : { hint: row.hint })
}

function fileMismatch(file: ReportFile, operation: OperationName): CheckError {
  if (operation === "stat") return new CheckError(`${file.path}: size differs from the plan${found(file)}`)
  return new CheckError(`${file.path}: header differs from the plan`)
}

/** Expected and found size, where the sizes tell them apart. */
function found(file: ReportFile | undefined): string {
  if (file === undefined) return ""
  const size = statSync(file.path, { throwIfNoEntry: false })?.size
  if (size === undefined) return ` (expected ${file.size} bytes, found no file)`
  return size === file.size ? "" : ` (expected ${file.size} bytes, found ${size})`
}
