/**
 * A tensor's entry in a safetensors header as writers write it, in one pass over its characters:
 *
 *     {"dtype":"BF16","shape":[2880,64],"data_offsets":[0,368640]}
 *
 * with or without a space behind `:` and `,`. What is otherwise (order, extra fields, escapes, integers of over 15
 * digits, faults) is left to a reader that goes field by field and finds words for what is wrong.
 */

/** What an entry says. Bytes count from the start of the data section. */
export interface EntryFields {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly dataBegin: number
  readonly dataEnd: number
}

/** An entry, and the position behind it in the text. */
export interface PlainEntry extends EntryFields {
  readonly end: number
}

/** Such integers are exact in a double however they are summed up. */
const DIGITS_MAX = 15

const SPACE = 0x20
const QUOTE = 0x22
const COMMA = 0x2c
const ZERO = 0x30
const CLOSE_ARRAY = 0x5d
const CLOSE_OBJECT = 0x7d

/** The entry that starts at `start`; undefined where it is not of this form. */
export function scanPlainEntry(text: string, start: number): PlainEntry | undefined {
  const scanner = new Scanner(text, start)
  if (!scanner.word('{"dtype":') || !scanner.word('"')) return undefined
  const dtype = scanner.capitals()
  if (dtype === undefined || !scanner.byte(QUOTE) || !scanner.word(",")) return undefined
  if (!scanner.word('"shape":') || !scanner.word("[")) return undefined
  const shape: number[] = []
  if (!scanner.byte(CLOSE_ARRAY)) {
    do {
      const dimension = scanner.integer()
      if (dimension < 0) return undefined
      shape.push(dimension)
    } while (scanner.byte(COMMA))
    if (!scanner.byte(CLOSE_ARRAY)) return undefined
  }
  if (!scanner.word(",") || !scanner.word('"data_offsets":') || !scanner.word("[")) return undefined
  const dataBegin = scanner.integer()
  if (dataBegin < 0 || !scanner.byte(COMMA)) return undefined
  const dataEnd = scanner.integer()
  if (dataEnd < 0 || !scanner.byte(CLOSE_ARRAY) || !scanner.byte(CLOSE_OBJECT)) return undefined
  return { dtype, shape, dataBegin, dataEnd, end: scanner.position }
}

class Scanner {
  readonly #text: string
  position: number

  constructor(text: string, position: number) {
    this.#text = text
    this.position = position
  }

  /** Takes these characters, and a space before them. */
  word(expected: string): boolean {
    const start = this.#text.charCodeAt(this.position) === SPACE ? this.position + 1 : this.position
    if (!this.#text.startsWith(expected, start)) return false
    this.position = start + expected.length
    return true
  }

  byte(expected: number): boolean {
    if (this.#text.charCodeAt(this.position) !== expected) return false
    this.position += 1
    return true
  }

  /** The name of a dtype. */
  capitals(): string | undefined {
    const start = this.position
    let position = start
    for (;;) {
      const code = this.#text.charCodeAt(position)
      const isPart = (code >= 0x41 && code <= 0x5a) || (code >= ZERO && code <= 0x39) || code === 0x5f
      if (!isPart) break
      position += 1
    }
    this.position = position
    return position === start ? undefined : this.#text.slice(start, position)
  }

  /** An integer, and a space before it; -1 where there is none, or one that JSON forbids or that is too long. */
  integer(): number {
    const text = this.#text
    const start = text.charCodeAt(this.position) === SPACE ? this.position + 1 : this.position
    let position = start
    let value = 0
    for (;;) {
      const digit = text.charCodeAt(position) - ZERO
      if (!(digit >= 0 && digit <= 9)) break
      value = value * 10 + digit
      position += 1
    }
    const length = position - start
    if (length === 0 || length > DIGITS_MAX || (length > 1 && text.charCodeAt(start) === ZERO)) return -1
    this.position = position
    return value
  }
}
