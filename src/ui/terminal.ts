/** The two streams of the program: results on stdout, everything else on stderr, both written at once and in order. */
import { writeSync } from "node:fs"
import { isatty } from "node:tty"
import { errorCode } from "../containers/file.ts"
import { IoError } from "../errors.ts"

const STDOUT = 1
const STDERR = 2
const WIDTH_DEFAULT = 80
/** Wider tables are harder to read than cut ones. */
const WIDTH_MAX = 200

export type Paint = (text: string) => string

/** Colours with a meaning each; all are the identity where colour is off. */
export interface Palette {
  readonly heading: Paint
  readonly faint: Paint
  readonly good: Paint
  readonly warning: Paint
  readonly bad: Paint
}

export type ColorChoice = "auto" | "always" | "never"

/** https://no-color.org: set and not empty means no colour; `--color always` is the user's later word. */
export function wantsColor(choice: ColorChoice, terminal: boolean, env: NodeJS.ProcessEnv = process.env): boolean {
  if (choice !== "auto") return choice === "always"
  return terminal && (env.NO_COLOR ?? "") === "" && env.TERM !== "dumb"
}

export function palette(enabled: boolean): Palette {
  const paint =
    (open: number, close: number): Paint =>
    (text) =>
      enabled && text !== "" ? `\u001b[${open}m${text}\u001b[${close}m` : text
  return {
    heading: paint(1, 22),
    faint: paint(2, 22),
    good: paint(32, 39),
    warning: paint(33, 39),
    bad: paint(31, 39),
  }
}

export const stdoutIsTerminal = (): boolean => isatty(STDOUT)
export const stderrIsTerminal = (): boolean => isatty(STDERR)

/** What a stream says of its terminal, if it has one. */
interface TerminalStream {
  readonly columns?: number
  /** Asks the terminal. Without it a new width is known only when the event loop has come to its signal. */
  readonly _refreshSize?: () => void
}

/** Columns of the terminal behind stdout or stderr, as they are now; 80 where neither is one. */
export function terminalWidth(name: "stdout" | "stderr"): number {
  const stream: TerminalStream = process[name]
  stream._refreshSize?.()
  const { columns } = stream
  return Math.min(WIDTH_MAX, columns !== undefined && columns > 0 ? columns : WIDTH_DEFAULT)
}

/** Milliseconds between two tries to write into a pipe that is full and that someone made non-blocking. */
const RETRY_MS = 1

/** Writes all of the text, and waits for the reader of a pipe however long it takes. */
function writeAll(descriptor: number, text: string): void {
  const bytes = new TextEncoder().encode(text)
  let offset = 0
  while (offset < bytes.length) {
    try {
      offset += writeSync(descriptor, bytes, offset)
    } catch (error) {
      if (errorCode(error) !== "EAGAIN") throw error
      Bun.sleepSync(RETRY_MS)
    }
  }
}

let stdoutClosed = false

/**
 * Prints to stdout. A reader that has gone away (`| head`) is no error: the rest is dropped and the exit code stays
 * what the work deserves. Throws IoError where the text is lost in any other way (`> /dev/full`).
 */
export function print(text: string): void {
  if (stdoutClosed) return
  try {
    writeAll(STDOUT, text)
  } catch (error) {
    const code = errorCode(error)
    stdoutClosed = true
    if (code !== "EPIPE" && code !== "EBADF")
      throw new IoError(`standard output: cannot write (${code ?? String(error)})`)
  }
}

export function printLines(lines: readonly string[]): void {
  if (lines.length > 0) print(`${lines.join("\n")}\n`)
}

/** Prints to stderr. There is nowhere to report that this fails, so it never throws. */
export function printError(text: string): void {
  try {
    writeAll(STDERR, text)
  } catch {
    // The reader of the messages has gone; the exit code still says how the run ended.
  }
}
