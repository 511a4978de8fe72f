/** Options of a command as data: one row serves the parser, the help, the completion scripts and the manual page. */
import { UsageError } from "../errors.ts"
import { parseDuration, parseSize } from "../format.ts"
import { nearest } from "../nearest.ts"

export interface Option<T> {
  /** One letter. */
  readonly short?: string
  /** How help names the value: N, SIZE, FILE. undefined: a switch that takes none. */
  readonly value: string | undefined
  /** One or two plain sentences without a period at the end. */
  readonly help: string
  /** Heading of help under which the option stands; absent: "Options". */
  readonly group?: string
  /** All values there are, where they can be listed. */
  readonly choices?: readonly string[]
  /** What the shell offers for the value. */
  readonly completes?: "path"
  /** The default as help prints it; absent: none worth a word. */
  readonly defaultText?: string
  /** The value where the option is not given. */
  readonly initial: T
  /** The new value; `previous` is the one before, for options that may be repeated. Throws UsageError. */
  readonly parse: (text: string, previous: T, name: string) => T
}

/** Erased form, for code that only shows options. `parse` is contravariant in T, so unknown would not do. */
// biome-ignore lint/suspicious/noExplicitAny: a table of options holds options of any value type
export type AnyOption = Option<any>
export type Options = Readonly<Record<string, AnyOption>>

/** The parsed values of a table of options, by long name. */
export type OptionValues<O extends Options> = { readonly [K in keyof O]: O[K] extends Option<infer T> ? T : never }

interface Described {
  readonly short?: string
  readonly group?: string
  readonly help: string
}

export function flag(described: Described): Option<boolean> {
  return { ...described, value: undefined, initial: false, parse: () => true }
}

/** A text; undefined where it is not given. */
export function text(described: Described & { value: string; completes?: "path" }): Option<string | undefined> {
  return {
    ...described,
    initial: undefined,
    parse(given, _previous, name) {
      if (given === "") throw new UsageError(`${name}: the value is empty`)
      return given
    },
  }
}

/** A text that may be given several times. */
export function list(described: Described & { value: string }): Option<readonly string[]> {
  return {
    ...described,
    initial: [],
    parse(given, previous, name) {
      if (given === "") throw new UsageError(`${name}: the value is empty`)
      return [...previous, given]
    },
  }
}

/** One of several words. */
export function choice<const C extends string>(
  described: Described & { choices: readonly C[]; initial: NoInfer<C> },
): Option<C> {
  return {
    ...described,
    value: described.choices.join("|"),
    defaultText: described.initial,
    parse(given, _previous, name) {
      const lower = given.toLowerCase()
      const found = described.choices.find((word) => word === lower)
      if (found !== undefined) return found
      const close = nearest(lower, described.choices)
      const hint = close === undefined ? {} : { hint: `did you mean ${close}?` }
      throw new UsageError(`${name}: "${given}" is none of ${described.choices.join(", ")}`, hint)
    },
  }
}

/** A whole number from `min` to `max`; undefined where it is not given and has no default. */
export function integer<T extends number | undefined>(
  described: Described & { value: string; min: number; max: number; initial: T; defaultText?: string },
): Option<T | number> {
  const { min, max } = described
  return {
    ...described,
    parse(given, _previous, name) {
      const value = /^\d{1,15}$/.test(given) ? Number(given) : Number.NaN
      if (value >= min && value <= max) return value
      throw new UsageError(`${name}: "${given}" is not a whole number from ${min} to ${max}`)
    },
  }
}

/** A SIZE in bytes, or one of a few words. */
export function size<T extends number | string, const W extends string = never>(
  described: Described & { value?: string; initial: T; defaultText?: string; words?: readonly W[] },
): Option<T | number | W> {
  const words: readonly W[] = described.words ?? []
  return {
    ...described,
    value: described.value ?? ["SIZE", ...words].join("|"),
    ...(words.length > 0 ? { choices: words } : {}),
    parse(given, _previous, name) {
      const word = words.find((one) => one === given)
      const value = word ?? parseSize(given)
      if (value !== undefined) return value
      const others = words.length > 0 ? ` or one of ${words.join(", ")}` : ""
      throw new UsageError(`${name}: "${given}" is not a size such as 5GB or 512MiB${others}`)
    },
  }
}

/** A time in seconds. */
export function duration(described: Described & { initial: number; defaultText?: string }): Option<number> {
  return {
    ...described,
    value: "TIME",
    parse(given, _previous, name) {
      const value = parseDuration(given)
      if (value !== undefined) return value
      throw new UsageError(`${name}: "${given}" is not a time such as 3s, 500ms or 2min`)
    },
  }
}
