/** What a failure says: one line on stderr and an exit code. */

import { errorCode } from "../containers/file.ts"
import { escapeText } from "../containers/quote.ts"
import { DequantizerError, ExitCode } from "../errors.ts"
import { PROGRAM } from "./help.ts"

/** EX_SOFTWARE of sysexits(3): the program itself is at fault, which no code of the user's faults may claim. */
const EXIT_INTERNAL = 70

export interface Failure {
  /** Without a line end. */
  readonly line: string
  readonly exitCode: number
  /** Of a fault of ours only. */
  readonly stack: string | undefined
}

/** A failed system call that nobody gave a sentence: `ENOENT: no such file or directory, open 'x'`. */
function isSystemError(error: unknown): error is Error {
  return error instanceof Error && "syscall" in error && errorCode(error) !== undefined
}

/** Never throws. `line` has no control characters, whatever the files put into it. */
export function describeFailure(error: unknown): Failure {
  const say = (text: string): string => `${PROGRAM}: ${escapeText(text)}`
  if (error instanceof DequantizerError) {
    const message = error.hint === undefined ? error.message : `${error.message}; ${error.hint}`
    return { line: say(message), exitCode: error.exitCode, stack: undefined }
  }
  if (isSystemError(error)) return { line: say(error.message), exitCode: ExitCode.io, stack: undefined }
  const message = error instanceof Error ? error.message : String(error)
  const stack = error instanceof Error ? (error.stack ?? message) : message
  return { line: say(`internal fault: ${message}; -v shows where`), exitCode: EXIT_INTERNAL, stack }
}
