/**
 * Names and paths in messages. They come from files that anyone may have written, so what could move the cursor,
 * reorder the line or flood the screen is escaped or cut. Also the one form of an error about a tensor.
 */
import { type ErrorOptionsWithHint, MalformedError } from "../errors.ts"

/** Longest name that is printed whole, in UTF-16 units. Real names stay below 120. */
const NAME_LENGTH_MAX = 160
/** What is kept of a longer one: its start and its end, which tell tensors of one model apart. */
const NAME_HEAD_LENGTH = 100
const NAME_TAIL_LENGTH = 40

/**
 * Control characters; format characters, which hide in text or change its direction (zero width, bidirectional, soft
 * hyphen, tags); line and paragraph separators; halves of surrogate pairs.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

/**
 * `text` with unsafe characters as escapes (`\n`, `\x1b`, `\u202e`), never cut. For paths, which are needed whole.
 */
export function escapeText(text: string): string {
  return text.replace(UNSAFE, (character) => {
    if (character === "\n") return "\\n"
    if (character === "\r") return "\\r"
    if (character === "\t") return "\\t"
    const code = character.codePointAt(0) ?? 0
    if (code <= 0xff) return `\\x${code.toString(16).padStart(2, "0")}`
    return code <= 0xffff ? `\\u${code.toString(16).padStart(4, "0")}` : `\\u{${code.toString(16)}}`
  })
}

/** A name from a file: quoted, escaped, and cut in the middle where it is long. */
export function quote(name: string): string {
  if (name.length <= NAME_LENGTH_MAX) return `"${escapeText(name).replaceAll('"', '\\"')}"`
  const shortened = `${name.slice(0, NAME_HEAD_LENGTH)}…${name.slice(-NAME_TAIL_LENGTH)}`
  return `"${escapeText(shortened).replaceAll('"', '\\"')}" (${name.length} characters)`
}

export interface Fault extends ErrorOptionsWithHint {
  /** Both or none: what the format wants and what is there. */
  expected?: string
  found?: string
}

function withValues(what: string, fault: Fault): string {
  if (fault.expected === undefined) return fault.found === undefined ? what : `${what} (found ${fault.found})`
  return `${what} (expected ${fault.expected}, found ${fault.found ?? "nothing"})`
}

/** `<path>: <what> (expected …, found …)`. */
export function faultLine(path: string, what: string, fault: Fault = {}): string {
  return `${escapeText(path)}: ${withValues(what, fault)}`
}

/** `<path>: tensor "<name>": <what> (expected …, found …)`. */
export function tensorLine(path: string, tensor: string, what: string, fault: Fault = {}): string {
  return `${escapeText(path)}: tensor ${quote(tensor)}: ${withValues(what, fault)}`
}

/** A file that breaks its own format. */
export function fileFault(path: string, what: string, fault: Fault = {}): MalformedError {
  return new MalformedError(faultLine(path, what, fault), hintOf(fault))
}

/** A tensor that breaks the format of its file or of its quantization. */
export function tensorFault(path: string, tensor: string, what: string, fault: Fault = {}): MalformedError {
  return new MalformedError(tensorLine(path, tensor, what, fault), hintOf(fault))
}

function hintOf(fault: Fault): ErrorOptionsWithHint {
  return {
    ...(fault.hint === undefined ? {} : { hint: fault.hint }),
    ...(fault.cause === undefined ? {} : { cause: fault.cause }),
  }
}
