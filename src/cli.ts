/**
 * The program: finds the command, runs it, and turns what comes back into an exit code. All results go to stdout; a
 * failure is one line on stderr.
 */
import { existsSync } from "node:fs"
import { runCommand } from "citty"
import { COMMAND_WORDS, type CommandName, findCommand, loadCommand } from "./commands/table.ts"
import { ExitCode, UsageError } from "./errors.ts"
import { nearest } from "./nearest.ts"
import { printVersion } from "./ui/command.ts"
import { globalOptions } from "./ui/globals.ts"
import { describeFailure } from "./ui/report-error.ts"
import { printError } from "./ui/terminal.ts"

interface Route {
  readonly command: CommandName
  readonly argv: readonly string[]
}

/** Position of the first word that is neither a global option nor the value of one; -1 if there is none. */
function firstWord(argv: readonly string[]): number {
  const takesValue = Object.entries(globalOptions).flatMap(([name, option]) =>
    option.value === undefined ? [] : [`--${name}`],
  )
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index] ?? ""
    if (word === "--") return -1
    if (!word.startsWith("-")) return index
    if (takesValue.includes(word)) index += 1
  }
  return -1
}

/** `dequantizer [global options] <command> …`; a path in the place of the command is inspected. */
function route(argv: readonly string[]): Route {
  const index = firstWord(argv)
  const word = argv[index]
  if (word === undefined) {
    if (argv.includes("--")) return { command: "inspect", argv }
    return { command: "help", argv: argv.filter((one) => one !== "-h" && one !== "--help") }
  }
  const name = findCommand(word)
  if (name !== undefined) return { command: name, argv: argv.toSpliced(index, 1) }
  const looksLikePath = word.includes("/") || word.includes(".") || existsSync(word)
  if (looksLikePath) return { command: "inspect", argv }
  const close = nearest(word, COMMAND_WORDS)
  const hint = close === undefined ? "dequantizer help lists the commands" : `did you mean ${close}?`
  throw new UsageError(`unknown command "${word}", and there is no file of that name`, { hint })
}

/** Global options alone: `--version` must not load a command to answer. */
function onlyVersion(argv: readonly string[]): boolean {
  return argv.length > 0 && argv.every((word) => word === "-V" || word === "--version" || word === "--json")
}

async function main(argv: readonly string[]): Promise<number> {
  if (onlyVersion(argv)) {
    printVersion(argv.includes("--json"))
    return ExitCode.ok
  }
  const { command, argv: rest } = route(argv)
  const { definition } = await loadCommand(command)
  const { result } = await runCommand(definition, { rawArgs: [...rest] })
  return typeof result === "number" ? result : ExitCode.ok
}

/** Never rejects: every failure has become its line and its exit code. */
async function mainToEnd(argv: readonly string[]): Promise<number> {
  try {
    return await main(argv)
  } catch (error) {
    const failure = describeFailure(error)
    printError(`${failure.line}\n`)
    const verbose = argv.includes("-v") || argv.includes("--verbose")
    if (failure.stack !== undefined && verbose) printError(`${failure.stack}\n`)
    return failure.exitCode
  }
}

// No await at the top level: the compiled program's bytecode has no place for one.
mainToEnd(process.argv.slice(2)).then((exitCode) => process.exit(exitCode))
