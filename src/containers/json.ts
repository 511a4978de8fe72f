/**
 * A strict JSON reader (RFC 8259) for headers and indexes. The engine's own JSON.parse hides what matters here:
 * duplicate keys, the written form of numbers, and how deep a file nests. Objects become Maps, so that `__proto__` is
 * a name like any other; numbers keep their source text, so that `1e-05` or a 20-digit integer survives a rewrite.
 *
 * Time and memory are linear in the text. Strings are slices of it.
 */
import { MalformedError } from "../errors.ts"
import { escapeText, quote } from "./quote.ts"

/**
 * Open arrays and objects at one time; serde_json, which reads safetensors headers elsewhere, stops at the same
 * depth.
 */
const DEPTH_MAX = 127
/** Digits of 2^64 - 1, the largest integer that a header may hold. */
const INTEGER_DIGITS_MAX = 20

/**
 * A number as it was written. `Infinity`, `-Infinity` and `NaN` occur only where the reader was told to allow them.
 */
export class JsonNumber {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

export type JsonObject = ReadonlyMap<string, JsonValue>
export type JsonValue = null | boolean | string | JsonNumber | readonly JsonValue[] | JsonObject

export interface JsonOptions {
  /**
   * Accept the constants that Python's json module writes: Mamba configs hold `"time_step_limit": [0.0, Infinity]`.
   */
  readonly pythonConstants?: boolean
}

// Loops over characters are several times faster than expressions once they are compiled, which an index of 200,000
// names pays for; of the short header of one file they cost a millisecond at most.
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const DIGITS = /0|[1-9][0-9]*/y
const CONSTANT = /-?Infinity|NaN/y

const SPACE = 0x20
const TAB = 0x09
const NEWLINE = 0x0a
const RETURN = 0x0d
const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_ARRAY = 0x5b
const BACKSLASH = 0x5c
const CLOSE_ARRAY = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

/** Reads one text from front to back. Every fault is a MalformedError whose message starts with `place`. */
export class JsonReader {
  readonly #text: string
  readonly #place: string
  readonly #constants: boolean
  #position = 0
  #depth = 0

  /** `place` is what messages call the text, a path and perhaps a part of the file; it is escaped here. */
  constructor(text: string, place: string, options: JsonOptions = {}) {
    this.#text = text
    this.#place = place
    this.#constants = options.pythonConstants ?? false
  }

  fail(what: string, position = this.#position): never {
    throw new MalformedError(`${escapeText(this.#place)}: ${what} (at character ${position})`)
  }

  /** The fault of two members with one name: neither can be trusted. */
  duplicate(key: string): never {
    this.fail(`duplicate key ${quote(key)}`)
  }

  /** Character code of the next token; NaN at the end of the text. */
  peek(): number {
    const text = this.#text
    let position = this.#position
    let code = text.charCodeAt(position)
    if (code > SPACE) return code
    while (code === SPACE || code === NEWLINE || code === TAB || code === RETURN) {
      position += 1
      code = text.charCodeAt(position)
    }
    this.#position = position
    return code
  }

  isObject(): boolean {
    return this.peek() === OPEN_OBJECT
  }

  /** Takes `null` where it is next. */
  isNull(): boolean {
    this.peek()
    if (!this.#text.startsWith("null", this.#position)) return false
    this.#position += 4
    return true
  }

  /**
   * Takes a value of a known form in one step: `scan` looks at the text from the next token on and gives what it found,
   * which must be exactly one valid value and end at `end`; undefined: nothing is taken.
   */
  take<T extends { readonly end: number }>(scan: (text: string, start: number) => T | undefined): T | undefined {
    this.peek()
    const found = scan(this.#text, this.#position)
    if (found !== undefined) this.#position = found.end
    return found
  }

  /** Takes the string `value` where it is next, and written without escapes. */
  takeString(value: string): boolean {
    if (this.peek() !== QUOTE || !this.#text.startsWith(value, this.#position + 1)) return false
    const end = this.#position + 1 + value.length
    if (this.#text.charCodeAt(end) !== QUOTE) return false
    this.#position = end + 1
    return true
  }

  /** Calls `field` for each member when its value is next; `field` must read exactly that value. */
  object(field: (key: string) => void, expected = "an object"): void {
    if (this.peek() !== OPEN_OBJECT) this.#expected(expected)
    this.#enter()
    let code = this.peek()
    if (code !== CLOSE_OBJECT) {
      for (;;) {
        if (code !== QUOTE) this.#expected("a key in double quotes")
        const key = this.string()
        if (this.peek() !== COLON) this.#expected('":"')
        this.#position += 1
        field(key)
        code = this.peek()
        if (code === CLOSE_OBJECT) break
        if (code !== COMMA) this.#expected('"," or "}"')
        this.#position += 1
        code = this.peek()
      }
    }
    this.#leave()
  }

  /** Calls `item` for each element when it is next; `item` must read exactly that value. */
  array(item: () => void, expected = "an array"): void {
    if (this.peek() !== OPEN_ARRAY) this.#expected(expected)
    this.#enter()
    if (this.peek() !== CLOSE_ARRAY) {
      for (;;) {
        item()
        const code = this.peek()
        if (code === CLOSE_ARRAY) break
        if (code !== COMMA) this.#expected('"," or "]"')
        this.#position += 1
      }
    }
    this.#leave()
  }

  string(expected = "a string"): string {
    if (this.peek() !== QUOTE) this.#expected(expected)
    const text = this.#text
    const start = this.#position + 1
    let end = start
    let code = text.charCodeAt(end)
    // False for what is no character, too: the end of the text.
    while (code >= SPACE && code !== QUOTE && code !== BACKSLASH) {
      end += 1
      code = text.charCodeAt(end)
    }
    if (code !== QUOTE) return this.#escapedString()
    this.#position = end + 1
    return text.slice(start, end)
  }

  /**
   * An integer of at most 2^53 - 1 without sign, fraction or exponent.
   * `wide` also takes larger ones up to 2^64 - 1 that a double holds exactly, such as 2^63.
   */
  integer(wide = false): number {
    this.peek()
    const start = this.#position
    DIGITS.lastIndex = start
    if (!DIGITS.test(this.#text)) this.#expected("a non-negative integer")
    const end = DIGITS.lastIndex
    const next = this.#text.charCodeAt(end)
    // "." "e" "E" or a digit after a leading zero: it would be another number, or none.
    if (next === 0x2e || next === 0x65 || next === 0x45 || (next >= 0x30 && next <= 0x39)) {
      this.#expected("a non-negative integer")
    }
    if (end - start > INTEGER_DIGITS_MAX) this.fail("integer is out of range", start)
    const text = this.#text.slice(start, end)
    const value = Number(text)
    if (!Number.isSafeInteger(value) && !(wide && isExact(text, value))) {
      this.fail(`integer is out of range (found ${text})`, start)
    }
    this.#position = end
    return value
  }

  /** Any value. */
  value(): JsonValue {
    switch (this.peek()) {
      case OPEN_OBJECT: {
        const members = new Map<string, JsonValue>()
        this.object((key) => {
          if (members.has(key)) this.duplicate(key)
          members.set(key, this.value())
        })
        return members
      }
      case OPEN_ARRAY: {
        const items: JsonValue[] = []
        this.array(() => items.push(this.value()))
        return items
      }
      case QUOTE:
        return this.string()
      default:
        return this.#literal()
    }
  }

  /**
   * Passes over a value of no interest, which must be valid all the same: no duplicate keys, numbers that are finite.
   */
  skip(): void {
    const code = this.peek()
    if (code === OPEN_OBJECT) {
      const keys = new Set<string>()
      this.object((key) => {
        if (keys.has(key)) this.duplicate(key)
        keys.add(key)
        this.skip()
      })
    } else if (code === OPEN_ARRAY) {
      this.array(() => this.skip())
    } else if (code === QUOTE) {
      this.string()
    } else {
      const value = this.#literal()
      if (value instanceof JsonNumber && !Number.isFinite(Number(value.text))) this.fail("number is out of range")
    }
  }

  /** The text must be over, save for white space. */
  end(): void {
    if (!Number.isNaN(this.peek())) this.#expected("the end")
  }

  #enter(): void {
    this.#position += 1
    this.#depth += 1
    if (this.#depth > DEPTH_MAX) this.fail(`nesting is deeper than ${DEPTH_MAX} levels`)
  }

  #leave(): void {
    this.#position += 1
    this.#depth -= 1
  }

  #literal(): null | boolean | JsonNumber {
    const start = this.#position
    const text = this.#text
    if (text.startsWith("true", start)) return this.#take(4, true)
    if (text.startsWith("false", start)) return this.#take(5, false)
    if (text.startsWith("null", start)) return this.#take(4, null)
    for (const expression of this.#constants ? [NUMBER, CONSTANT] : [NUMBER]) {
      expression.lastIndex = start
      if (expression.test(text)) {
        this.#position = expression.lastIndex
        return new JsonNumber(text.slice(start, this.#position))
      }
    }
    this.#expected("a value")
  }

  #take<T>(length: number, value: T): T {
    this.#position += length
    return value
  }

  /**
   * A string with escapes in it, or a faulty one: its end is found here, its escapes are the engine's own business.
   */
  #escapedString(): string {
    const text = this.#text
    const start = this.#position
    let end = start
    do {
      end = text.indexOf('"', end + 1)
      if (end === -1) this.fail("string does not end", start)
    } while (isEscaped(text, end))
    let value: unknown
    try {
      value = JSON.parse(text.slice(start, end + 1))
    } catch {
      this.fail("string with a control character or an unknown escape", start)
    }
    if (typeof value !== "string") throw new Error("unreachable: the text is one quoted string")
    // Half of a pair is no character: two names that differ only in it would be written as one.
    if (!value.isWellFormed()) this.fail("string with a lone surrogate", start)
    this.#position = end + 1
    return value
  }

  #expected(what: string): never {
    this.peek()
    const found = this.#text.slice(this.#position, this.#position + 20)
    this.fail(`not valid JSON: expected ${what}, found ${found === "" ? "the end" : quote(found)}`)
  }
}

/** Whether the quote at `position` belongs to an escape: an odd number of backslashes stands before it. */
function isEscaped(text: string, position: number): boolean {
  let start = position
  while (text.charCodeAt(start - 1) === BACKSLASH) start -= 1
  return (position - start) % 2 === 1
}

/** Whether `value` is exactly the integer that `text` writes, and fits 64 bits. */
function isExact(text: string, value: number): boolean {
  return value < 2 ** 64 && BigInt(text) === BigInt(value)
}

/**
 * UTF-8 to text, strictly: overlong forms, encoded surrogates and stray bytes are faults; a byte order mark is kept.
 */
export function decodeUtf8(bytes: Uint8Array, place: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new MalformedError(`${escapeText(place)}: not valid UTF-8`, { cause })
  }
}

/** Reads a whole text that must be one object. */
export function parseJsonObject(bytes: Uint8Array, place: string, options: JsonOptions = {}): JsonObject {
  const reader = new JsonReader(decodeUtf8(bytes, place), place, options)
  if (!reader.isObject()) reader.object(() => {}, "an object")
  const value = reader.value()
  reader.end()
  if (!isJsonObject(value)) throw new Error("unreachable: the text starts with {")
  return value
}

export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return value instanceof Map
}

export function isJsonArray(value: JsonValue | undefined): value is readonly JsonValue[] {
  return Array.isArray(value)
}

/** The value of a number that is written as an integer and is exact in a double; undefined for all else. */
export function jsonInteger(value: JsonValue | undefined): number | undefined {
  if (!(value instanceof JsonNumber) || !/^-?[0-9]+$/.test(value.text)) return undefined
  const number = Number(value.text)
  return Number.isSafeInteger(number) ? number : undefined
}

/** What a value is, for messages: "an array", "the number 1.5". */
export function describeJson(value: JsonValue | undefined): string {
  if (value === undefined) return "nothing"
  if (value === null) return "null"
  if (typeof value === "boolean") return String(value)
  if (typeof value === "string") return quote(value)
  if (value instanceof JsonNumber) return value.text.slice(0, 40)
  return isJsonObject(value) ? "an object" : "an array"
}

/**
 * Text of a value with two spaces of indent, members in their order, numbers as they were written. No newline at the
 * end.
 */
export function stringifyJson(value: JsonValue): string {
  const parts: string[] = []
  write(value, "\n", parts)
  return parts.join("")
}

function write(value: JsonValue, newline: string, parts: string[]): void {
  if (value instanceof JsonNumber) {
    parts.push(value.text)
  } else if (isJsonObject(value)) {
    if (value.size === 0) return void parts.push("{}")
    const inner = `${newline}  `
    let separator = "{"
    for (const [key, member] of value) {
      parts.push(separator, inner, JSON.stringify(key), ": ")
      write(member, inner, parts)
      separator = ","
    }
    parts.push(newline, "}")
  } else if (isJsonArray(value)) {
    if (value.length === 0) return void parts.push("[]")
    const inner = `${newline}  `
    let separator = "["
    for (const item of value) {
      parts.push(separator, inner)
      write(item, inner, parts)
      separator = ","
    }
    parts.push(newline, "]")
  } else {
    parts.push(JSON.stringify(value))
  }
}
