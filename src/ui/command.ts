/**
 * A command: its options as data and the function that runs it, wrapped for citty. citty gives the command its frame
 * (name, description, arguments, run); parsing and help are this project's own, because citty 0.2.2 accepts unknown
 * options and knows no numbers.
 */
import { type ArgsDef, type CommandDef, defineCommand } from "citty"
import { ExitCode, UsageError } from "../errors.ts"
import { VERSION } from "../version.ts"
import { createUi, type Globals, globalOptions, type Ui } from "./globals.ts"
import { commandHelp, PROGRAM } from "./help.ts"
import type { Options, OptionValues } from "./option.ts"
import { type Positional, parseArguments, requirePositionals } from "./parse.ts"
import { print, printLines } from "./terminal.ts"

export interface Example {
  /** As typed in a shell. */
  readonly line: string
  readonly what: string
}

export interface CommandSpec<O extends Options = Options> {
  readonly name: string
  /** A second name. */
  readonly alias?: string
  /** One line without a period. */
  readonly summary: string
  /** What follows the command's name in its usage line. */
  readonly usage: string
  readonly positionals: readonly Positional[]
  readonly options: O
  /** False: there is no result that could be one JSON object. */
  readonly json: boolean
  /** Paragraphs of help after the options. */
  readonly notes?: readonly string[]
  readonly examples?: readonly Example[]
}

export interface CommandInput<O extends Options> {
  readonly values: OptionValues<O>
  readonly given: ReadonlySet<string>
  readonly positionals: readonly string[]
  readonly globals: Globals
  readonly ui: Ui
}

/** What a command's module exports as default. */
export interface Command {
  readonly spec: CommandSpec
  /** For citty's `runCommand`; its result is the exit code. */
  readonly definition: CommandDef
}

/** `-V`, as text or as one object. */
export function printVersion(json: boolean): void {
  print(
    json
      ? `${JSON.stringify({ schema: 1, version: VERSION })}
`
      : `${PROGRAM} ${VERSION}
`,
  )
}

/** citty's own picture of the arguments, so that its tools see what there is; nothing in it can make citty throw. */
function cittyArguments(spec: CommandSpec): ArgsDef {
  const options = Object.entries({ ...spec.options, ...globalOptions }).map(([name, option]) => [
    name,
    {
      type: option.value === undefined ? ("boolean" as const) : ("string" as const),
      description: option.help,
      ...(option.short === undefined ? {} : { alias: option.short }),
      ...(option.value === undefined ? {} : { valueHint: option.value }),
    },
  ])
  const positionals = spec.positionals.map((positional) => [
    positional.name,
    { type: "positional" as const, description: positional.help, required: false },
  ])
  return Object.fromEntries([...positionals, ...options])
}

/** Makes a command; `run` returns the exit code, or nothing for success. */
export function command<const O extends Options>(
  spec: CommandSpec<O>,
  run: (input: CommandInput<O>) => Promise<number | undefined> | number | undefined,
): Command {
  const all = { ...spec.options, ...globalOptions }
  return {
    spec,
    definition: defineCommand({
      meta: { name: spec.name, description: spec.summary },
      args: cittyArguments(spec),
      async run({ rawArgs }) {
        const parsed = parseArguments(rawArgs, all, spec.positionals, ["help", "version"])
        const globals: Globals = parsed.values
        if (globals.help) return printLines(commandHelp(spec, createUi(globals).paint))
        if (globals.version) return printVersion(globals.json)
        if (globals.json && !spec.json) throw new UsageError(`${spec.name} has no --json form`)
        requirePositionals(parsed.positionals, spec.positionals)
        const values: OptionValues<O> = parsed.values
        const exitCode = await run({ ...parsed, values, globals, ui: createUi(globals) })
        return exitCode ?? ExitCode.ok
      },
    }),
  }
}
