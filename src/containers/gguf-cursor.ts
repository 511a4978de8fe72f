/**
 * Reading numbers, strings and counts of a GGUF header from its bytes. The bytes arrive in pieces: a cursor that runs
 * into the end of what has been read throws ShortRead, and the caller reads on and repeats the item. What a length or
 * a count claims is compared with the size of the file before anything is done with it.
 */
import { UnsupportedError } from "../errors.ts"
import { decodeUtf8 } from "./json.ts"
import { escapeText, fileFault } from "./quote.ts"

/** Bytes of the length before each string. */
export const STRING_PREFIX_SIZE = 8

const CUT_OFF = "the file is cut off or damaged; download it again"

/** A cursor needs the bytes of the file up to `end`. */
export class ShortRead extends Error {
  readonly end: number

  constructor(end: number) {
    super("more bytes are needed")
    this.end = end
  }
}

/** A run of bytes of the header. */
export interface Span {
  readonly start: number
  readonly end: number
}

export class GgufCursor {
  readonly path: string
  readonly fileSize: number
  position = 0
  #bytes: Uint8Array
  #view: DataView

  constructor(path: string, fileSize: number, bytes: Uint8Array) {
    this.path = path
    this.fileSize = fileSize
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** The first bytes of the file, as far as they have been read. */
  get bytes(): Uint8Array {
    return this.#bytes
  }

  /** Replaces the bytes by more of the same file. */
  extend(bytes: Uint8Array): void {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** Passes over `size` bytes and returns where they start. */
  take(size: number, what: string): number {
    const start = this.position
    const end = start + size
    if (end > this.fileSize) {
      throw fileFault(this.path, `${what} ends past the end of the file`, {
        expected: `${size} bytes at ${start}`,
        found: `${this.fileSize - start}`,
        hint: CUT_OFF,
      })
    }
    if (end > this.#bytes.length) throw new ShortRead(end)
    this.position = end
    return start
  }

  u32(what: string): number {
    return this.#view.getUint32(this.take(4, what), true)
  }

  u64(what: string): bigint {
    return this.#view.getBigUint64(this.take(8, what), true)
  }

  /** A number of things that follow, each of at least `bytesEach` bytes. */
  count(bytesEach: number, what: string): number {
    const claimed = this.u64(what)
    const room = Math.floor((this.fileSize - this.position) / bytesEach)
    if (claimed > BigInt(room)) {
      throw fileFault(this.path, `${what} is more than the file has room for`, {
        expected: `at most ${room}`,
        found: String(claimed),
        hint: CUT_OFF,
      })
    }
    return Number(claimed)
  }

  /** The bytes of a string, its length read and left behind. */
  stringSpan(what: string): Span {
    const length = this.count(1, `length of ${what}`)
    const start = this.take(length, what)
    return { start, end: start + length }
  }

  /** A string that must be UTF-8: a key or a name. */
  string(what: string): string {
    const { start, end } = this.stringSpan(what)
    return decodeUtf8(this.#bytes.subarray(start, end), `${this.path}: ${what}`)
  }

  /** Passes over strings one after the other. */
  skipStrings(count: number, what: string): void {
    const { fileSize } = this
    let position = this.position
    for (let i = 0; i < count; i += 1) {
      if (position + STRING_PREFIX_SIZE > this.#bytes.length) this.#short(position + STRING_PREFIX_SIZE, what)
      const low = this.#view.getUint32(position, true)
      const high = this.#view.getUint32(position + 4, true)
      const end = position + STRING_PREFIX_SIZE + low
      if (high !== 0 || end > fileSize) this.#short(Number.POSITIVE_INFINITY, what)
      position = end
    }
    if (position > this.#bytes.length) this.#short(position, what)
    this.position = position
  }

  #short(end: number, what: string): never {
    if (end <= this.fileSize) throw new ShortRead(end)
    throw fileFault(this.path, `${what} ends past the end of the file`, { hint: CUT_OFF })
  }

  number(type: NumberType): number | bigint {
    const at = this.take(NUMBER_SIZES[type], "metadata value")
    return numberAt(this.#view, at, type)
  }
}

/** Types of numbers in metadata and their bytes. */
export const NUMBER_SIZES = {
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  bool: 1,
  uint64: 8,
  int64: 8,
  float64: 8,
} as const

export type NumberType = keyof typeof NUMBER_SIZES

/** The number at a position; a bool is 0 or 1. */
export function numberAt(view: DataView, at: number, type: NumberType): number | bigint {
  switch (type) {
    case "uint8":
    case "bool":
      return view.getUint8(at)
    case "int8":
      return view.getInt8(at)
    case "uint16":
      return view.getUint16(at, true)
    case "int16":
      return view.getInt16(at, true)
    case "uint32":
      return view.getUint32(at, true)
    case "int32":
      return view.getInt32(at, true)
    case "float32":
      return view.getFloat32(at, true)
    case "uint64":
      return view.getBigUint64(at, true)
    case "int64":
      return view.getBigInt64(at, true)
    case "float64":
      return view.getFloat64(at, true)
  }
}

/** A version of the format, or a part of it, that is recognised and not read. */
export function unsupportedGguf(path: string, what: string, hint: string): UnsupportedError {
  return new UnsupportedError(`${escapeText(path)}: ${what}`, { hint })
}
