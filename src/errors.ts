/**
 * The error classes of the program. Each carries its exit code; the command line prints `message` and `hint` as one
 * line each, so that both are written for the user: what, where, expected and found.
 */

export const ExitCode = {
  ok: 0,
  /** A check failed: verify found a mismatch, `inspect --strict` has findings, `--non-finite error` found some. */
  check: 1,
  usage: 2,
  malformed: 3,
  unsupported: 4,
  io: 5,
  refused: 6,
  sigint: 130,
  sigterm: 143,
} as const

export interface ErrorOptionsWithHint {
  /** One sentence on how to go on. */
  hint?: string
  cause?: unknown
}

/** Any fault that is not ours: a file's, the machine's or the command line's. */
export abstract class DequantizerError extends Error {
  abstract readonly exitCode: number
  readonly hint: string | undefined

  constructor(message: string, options: ErrorOptionsWithHint = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = new.target.name
    this.hint = options.hint
  }
}

/** A check ran and failed (exit 1). */
export class CheckError extends DequantizerError {
  readonly exitCode = ExitCode.check
}

/** The command line or the arguments of an API call contradict themselves (exit 2). */
export class UsageError extends DequantizerError {
  readonly exitCode = ExitCode.usage
}

/** A file breaks its own format (exit 3). */
export class MalformedError extends DequantizerError {
  readonly exitCode = ExitCode.malformed
}

/** A format that is recognised, and not supported (exit 4). */
export class UnsupportedError extends DequantizerError {
  readonly exitCode = ExitCode.unsupported
}

/** Space, permission, a source that changed, a failing device (exit 5). */
export class IoError extends DequantizerError {
  readonly exitCode = ExitCode.io
}

/** The request is clear and declined: output exists, output is the input, memory limit (exit 6). */
export class RefusedError extends DequantizerError {
  readonly exitCode = ExitCode.refused
}

/** The caller's AbortSignal fired; `signal` names what the process received, if it did (exit 130 or 143). */
export class CancelledError extends DequantizerError {
  readonly exitCode: number

  constructor(signal: "SIGINT" | "SIGTERM" | "SIGHUP" = "SIGINT") {
    super("cancelled")
    this.exitCode = signal === "SIGINT" ? ExitCode.sigint : ExitCode.sigterm
  }
}
