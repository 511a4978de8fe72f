/** The options that every command takes, and what a command gets from them. */

import { escapeText } from "../containers/quote.ts"
import { choice, flag, type OptionValues, text } from "./option.ts"
import {
  type ColorChoice,
  type Palette,
  palette,
  printError,
  stderrIsTerminal,
  stdoutIsTerminal,
  wantsColor,
} from "./terminal.ts"

const group = "Global options"

export const globalOptions = {
  quiet: flag({ short: "q", group, help: "errors only: no progress, notes or summary" }),
  verbose: flag({ short: "v", group, help: "say more on stderr" }),
  json: flag({ group, help: "print the result as one JSON object" }),
  progress: choice({
    group,
    choices: ["auto", "plain", "json", "none"],
    initial: "auto",
    help: "a bar on a terminal, else plain lines",
  }),
  color: choice({ group, choices: ["auto", "always", "never"], initial: "auto", help: "colour; NO_COLOR is heeded" }),
  level: text({ group, value: "LEVEL", help: "CPU level of the kernels; doctor lists them" }),
  version: flag({ short: "V", group, help: "print the version and end" }),
  help: flag({ short: "h", group, help: "print this help and end" }),
} as const

export type Globals = OptionValues<typeof globalOptions>

/** How a command speaks: what the global options and the streams say about it. */
export interface Ui {
  readonly quiet: boolean
  readonly verbose: boolean
  readonly json: boolean
  readonly progress: Globals["progress"]
  readonly color: ColorChoice
  /** Colours of stdout. */
  readonly paint: Palette
  /** A remark on stderr, one line; nothing under --quiet. */
  note(text: string): void
  /** The same for what the user should look at. */
  warn(text: string): void
  /** Only under --verbose. */
  detail(text: string): void
}

export function createUi(globals: Globals): Ui {
  const colors: ColorChoice = globals.color
  const paint = palette(wantsColor(colors, stdoutIsTerminal()))
  const stderr = palette(wantsColor(colors, stderrIsTerminal()))
  const quiet = globals.quiet
  const verbose = globals.verbose && !quiet
  return {
    quiet,
    verbose,
    json: globals.json,
    color: colors,
    progress: quiet ? "none" : globals.progress,
    paint,
    note: (text) => {
      if (!quiet) printError(`${escapeText(text)}\n`)
    },
    warn: (text) => {
      if (!quiet) printError(`${stderr.warning("warning:")} ${escapeText(text)}\n`)
    },
    detail: (text) => {
      if (verbose) printError(`${stderr.faint(escapeText(text))}\n`)
    },
  }
}
