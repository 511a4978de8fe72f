/**
 * The metadata of a GGUF file: typed values by key. Long values (a vocabulary has hundreds of thousands of strings)
 * stay bytes of the header until someone asks for them. Source: ggml-org/ggml, docs/gguf.md.
 */
import { isUtf8 } from "node:buffer"
import {
  type GgufCursor,
  NUMBER_SIZES,
  type NumberType,
  numberAt,
  type Span,
  STRING_PREFIX_SIZE,
  unsupportedGguf,
} from "./gguf-cursor.ts"
import { fileFault, quote } from "./quote.ts"

/** The type with each number; 9 is an array of another one. */
const VALUE_TYPES = [
  "uint8",
  "int8",
  "uint16",
  "int16",
  "uint32",
  "int32",
  "float32",
  "bool",
  "string",
  "array",
  "uint64",
  "int64",
  "float64",
] as const
type ValueType = (typeof VALUE_TYPES)[number]
type ElementType = Exclude<ValueType, "array">

export type GgufValue =
  | { readonly type: NumberType; readonly value: number | bigint }
  | { readonly type: "string"; readonly span: Span }
  | { readonly type: "array"; readonly element: ElementType; readonly count: number; readonly span: Span }

export interface GgufMetadata {
  readonly version: number
  /** Tensors start at multiples of this many bytes. */
  readonly alignment: number
  readonly values: ReadonlyMap<string, GgufValue>
  /** The header, in which the spans are. */
  readonly bytes: Uint8Array
}

/** Reads the value of `key`. Throws MalformedError, UnsupportedError for arrays of arrays. */
export function readValue(cursor: GgufCursor, key: string): GgufValue {
  const what = `metadata ${quote(key)}`
  const type = readType(cursor, what)
  if (type === "string") return { type, span: cursor.stringSpan(what) }
  if (type === "array") return readArray(cursor, what)
  const value = cursor.number(type)
  if (type === "bool" && value !== 0 && value !== 1) {
    throw fileFault(cursor.path, `${what} is no bool`, { expected: "0 or 1", found: String(value) })
  }
  return { type, value }
}

function readType(cursor: GgufCursor, what: string): ValueType {
  const number = cursor.u32(`type of ${what}`)
  const type = VALUE_TYPES[number]
  if (type !== undefined) return type
  throw fileFault(cursor.path, `${what} has an unknown type`, { expected: "0 to 12", found: String(number) })
}

function readArray(cursor: GgufCursor, what: string): GgufValue {
  const element = readType(cursor, what)
  if (element === "array") {
    throw unsupportedGguf(
      cursor.path,
      `${what} is an array of arrays, which is not supported`,
      "no known model has one",
    )
  }
  const count = cursor.count(element === "string" ? STRING_PREFIX_SIZE : NUMBER_SIZES[element], `length of ${what}`)
  const start = cursor.position
  if (element === "string") cursor.skipStrings(count, what)
  else cursor.take(count * NUMBER_SIZES[element], what)
  return { type: "array", element, count, span: { start, end: cursor.position } }
}

/** A number that fits a double exactly, or a bool as 0 or 1; undefined where there is none of this key. */
export function ggufNumber(metadata: GgufMetadata, key: string): number | undefined {
  const value = metadata.values.get(key)
  if (value === undefined || value.type === "string" || value.type === "array") return undefined
  const number = Number(value.value)
  return typeof value.value === "bigint" && !Number.isSafeInteger(number) ? undefined : number
}

/** A string; undefined where there is none of this key. */
export function ggufText(metadata: GgufMetadata, key: string): string | undefined {
  const value = metadata.values.get(key)
  return value?.type === "string" ? textOf(metadata.bytes, value.span) : undefined
}

/** The numbers of an array, or one number as an array of one. */
export function ggufNumbers(metadata: GgufMetadata, key: string): number[] | undefined {
  const value = metadata.values.get(key)
  if (value?.type !== "array") {
    const number = ggufNumber(metadata, key)
    return number === undefined ? undefined : [number]
  }
  return value.element === "string" ? undefined : arrayNumbers(metadata, value.element, value).map(Number)
}

/** How many elements the array of a key has. */
export function ggufCount(metadata: GgufMetadata, key: string): number | undefined {
  const value = metadata.values.get(key)
  return value?.type === "array" ? value.count : undefined
}

function arrayNumbers(
  { bytes }: GgufMetadata,
  element: NumberType,
  { count, span }: { readonly count: number; readonly span: Span },
): (number | bigint)[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const size = NUMBER_SIZES[element]
  return Array.from({ length: count }, (_, i) => numberAt(view, span.start + i * size, element))
}

function textOf(bytes: Uint8Array, { start, end }: Span): string {
  return bufferOf(bytes).toString("utf8", start, end)
}

function bufferOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
}

/**
 * All metadata as JSON: `{"format": "gguf", "version", "metadata": {key: {"type", "value"}}}`. Nothing is lost: the
 * type says what a number was, and a string that is no UTF-8 is an object with its bytes in hexadecimal.
 */
export function metadataJson(metadata: GgufMetadata): string {
  const lines = [...metadata.values].map(([key, value]) => {
    const type = value.type === "array" ? `array of ${value.element}` : value.type
    return `    ${JSON.stringify(key)}: {"type": "${type}", "value": ${valueJson(metadata, value)}}`
  })
  const body = lines.length === 0 ? "{}" : `{\n${lines.join(",\n")}\n  }`
  return `{\n  "format": "gguf",\n  "version": ${metadata.version},\n  "metadata": ${body}\n}\n`
}

function valueJson(metadata: GgufMetadata, value: GgufValue): string {
  if (value.type === "string") return stringJson(bufferOf(metadata.bytes), value.span.start, value.span.end)
  if (value.type !== "array") return numberJson(value.type, value.value)
  if (value.element === "string") return stringsJson(metadata.bytes, value.count, value.span)
  const { element } = value
  return `[${arrayNumbers(metadata, element, value).map((number) => numberJson(element, number))}]`
}

function stringsJson(bytes: Uint8Array, count: number, { start }: Span): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const buffer = bufferOf(bytes)
  const parts: string[] = []
  let position = start
  for (let i = 0; i < count; i += 1) {
    const textStart = position + STRING_PREFIX_SIZE
    // Checked when it was read: no string is longer than the header.
    position = textStart + view.getUint32(position, true)
    parts.push(stringJson(buffer, textStart, position))
  }
  return `[${parts.join(",")}]`
}

const REPLACEMENT = "\ufffd"

function stringJson(bytes: Buffer, start: number, end: number): string {
  const text = bytes.toString("utf8", start, end)
  if (text.includes(REPLACEMENT) && !isUtf8(bytes.subarray(start, end))) {
    return `{"hex": "${bytes.toString("hex", start, end)}"}`
  }
  return JSON.stringify(text)
}

function numberJson(type: NumberType, value: number | bigint): string {
  if (type === "bool") return value === 0 ? "false" : "true"
  if (typeof value === "bigint") return String(value)
  if (!Number.isFinite(value)) return JSON.stringify(String(value))
  if (Object.is(value, -0)) return "-0.0"
  return type === "float32" ? shortestSingle(value) : String(value)
}

/** The shortest decimal that reads back as the same single. Six digits always do where fewer do. */
export function shortestSingle(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 24) return String(value)
  for (let digits = 6; digits < 9; digits += 1) {
    const text = String(Number(value.toPrecision(digits)))
    if (Math.fround(Number(text)) === value) return text
  }
  return String(Number(value.toPrecision(9)))
}
