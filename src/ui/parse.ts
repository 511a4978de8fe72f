/**
 * The strict parser of a command's arguments. citty's own lets unknown options pass, so it only names commands; every
 * word is read here: `--name value`, `--name=value`, `-n value`, `-nvalue`, switches together (`-fn`), `--` before
 * words that begin with a dash.
 */

import { escapeText } from "../containers/quote.ts"
import { UsageError } from "../errors.ts"
import { nearest } from "../nearest.ts"
import type { AnyOption, Options, OptionValues } from "./option.ts"

export interface Positional {
  /** As help shows it between < and >. */
  readonly name: string
  readonly help: string
  readonly choices?: readonly string[]
  readonly completes?: "path"
  readonly optional?: boolean
}

export interface ParsedArguments<O extends Options> {
  readonly values: OptionValues<O>
  readonly positionals: readonly string[]
  /** Long names of the options that were given. */
  readonly given: ReadonlySet<string>
}

interface Sink {
  readonly values: Record<string, unknown>
  readonly positionals: string[]
  readonly given: Set<string>
}

function findShort(options: Options, letter: string): [name: string, option: AnyOption] | undefined {
  return Object.entries(options).find(([, option]) => option.short === letter)
}

function unknownOption(shown: string, options: Options): UsageError {
  const known = Object.keys(options).map((name) => `--${name}`)
  // What is near to `--no-x` is `--x`, its opposite.
  const close = shown.startsWith("--") && !shown.startsWith("--no-") ? nearest(shown, known) : undefined
  const hint = close === undefined ? {} : { hint: `did you mean ${close}?` }
  return new UsageError(`unknown option ${escapeText(shown)}`, hint)
}

function store(sink: Sink, name: string, option: AnyOption, shown: string, text: string): void {
  sink.values[name] = option.parse(text, sink.values[name], shown)
  sink.given.add(name)
}

/** The word after an option that needs a value. One that looks like an option is more likely a forgotten value. */
function nextValue(argv: readonly string[], index: number, shown: string, option: AnyOption): string {
  const next = argv[index + 1]
  if (next === undefined) throw new UsageError(`${shown} needs a value (${option.value})`)
  if (next.length > 1 && next.startsWith("-")) {
    const attached = shown.startsWith("--") ? `${shown}=${next}` : `${shown}${next}`
    throw new UsageError(`${shown} needs a value (${option.value})`, {
      hint: `found ${escapeText(next)}; if that is the value, write ${escapeText(attached)}`,
    })
  }
  return next
}

/** Reads `--name`, `--name=value` or `--name value` at `argv[index]`; returns how many words it took. */
function parseLong(argv: readonly string[], index: number, options: Options, sink: Sink): number {
  const word = argv[index] ?? ""
  const equals = word.indexOf("=")
  const shown = equals < 0 ? word : word.slice(0, equals)
  const name = shown.slice(2)
  const option = Object.hasOwn(options, name) ? options[name] : undefined
  if (option === undefined) throw unknownOption(shown, options)
  if (option.value === undefined) {
    if (equals >= 0) throw new UsageError(`${shown} takes no value`)
    store(sink, name, option, shown, "")
    return 1
  }
  if (equals >= 0) {
    store(sink, name, option, shown, word.slice(equals + 1))
    return 1
  }
  store(sink, name, option, shown, nextValue(argv, index, shown, option))
  return 2
}

/** Reads `-n value`, `-nvalue` or a row of switches at `argv[index]`; returns how many words it took. */
function parseShort(argv: readonly string[], index: number, options: Options, sink: Sink): number {
  const letters = [...(argv[index] ?? "")].slice(1)
  for (const [position, letter] of letters.entries()) {
    const shown = `-${letter}`
    const found = findShort(options, letter)
    if (found === undefined) throw unknownOption(shown, options)
    const [name, option] = found
    if (option.value === undefined) {
      store(sink, name, option, shown, "")
      continue
    }
    const attached = letters.slice(position + 1).join("")
    if (attached !== "") {
      store(sink, name, option, shown, attached)
      return 1
    }
    store(sink, name, option, shown, nextValue(argv, index, shown, option))
    return 2
  }
  return 1
}

/**
 * Reads `argv`. `stopAt` names switches that end the reading at once (help, version): what follows them is not judged.
 * Throws UsageError for anything that is not in `options` or `positionals`, never for a positional that is missing:
 * see `requirePositionals`.
 */
export function parseArguments<O extends Options>(
  argv: readonly string[],
  options: O,
  positionals: readonly Positional[],
  stopAt: readonly string[] = [],
): ParsedArguments<O> {
  const initial = Object.entries(options).map(([name, option]) => [name, option.initial] as const)
  const sink: Sink = { values: Object.fromEntries(initial), positionals: [], given: new Set() }
  let index = 0
  let optionsEnded = false
  while (index < argv.length && !stopAt.some((name) => sink.given.has(name))) {
    const word = argv[index] ?? ""
    if (!optionsEnded && word === "--") {
      optionsEnded = true
      index += 1
    } else if (!optionsEnded && word.startsWith("--")) index += parseLong(argv, index, options, sink)
    else if (!optionsEnded && word.length > 1 && word.startsWith("-")) index += parseShort(argv, index, options, sink)
    else {
      if (sink.positionals.length >= positionals.length) {
        throw new UsageError(`unexpected argument "${escapeText(word)}"`)
      }
      sink.positionals.push(word)
      index += 1
    }
  }
  return { values: sink.values as OptionValues<O>, positionals: sink.positionals, given: sink.given }
}

/** Throws UsageError where a positional that is not optional is missing or empty, or is none of its choices. */
export function requirePositionals(found: readonly string[], positionals: readonly Positional[]): void {
  for (const [index, positional] of positionals.entries()) {
    const word = found[index]
    if (word === undefined && positional.optional === true) continue
    if (word === undefined) throw new UsageError(`<${positional.name}> is missing`)
    if (word === "") throw new UsageError(`<${positional.name}> is empty`)
    if (positional.choices !== undefined && !positional.choices.includes(word)) {
      const close = nearest(word, positional.choices)
      const hint = close === undefined ? {} : { hint: `did you mean ${close}?` }
      throw new UsageError(`"${escapeText(word)}" is none of ${positional.choices.join(", ")}`, hint)
    }
  }
}
