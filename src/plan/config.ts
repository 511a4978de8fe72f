/**
 * config.json of the output: what the quantization declares is taken out, and the dtype that stands there becomes the
 * new one. The text is edited in place, so that everything else keeps its order, numbers, indentation and line ends.
 */
import type { DenseDtype } from "../containers/dtype.ts"
import { isJsonObject, type JsonObject, type JsonValue, stringifyJson } from "../containers/json.ts"

export interface ConfigChanges {
  /** dtype of the dequantized tensors; undefined: the dtype keys stay, because no tensor has got another dtype. */
  readonly dtype: DenseDtype | undefined
  /** Some weights stay quantized: loaders still need the settings. */
  readonly keepQuantization: boolean
}

/** Names of torch dtypes, as transformers writes them. */
const TORCH_NAME: Readonly<Record<DenseDtype, string>> = { BF16: "bfloat16", F16: "float16", F32: "float32" }

/** Keys whose object describes a quantization: transformers' own, the older one of compressed-tensors, and MLX's. */
const QUANTIZATION_KEYS: ReadonlySet<string> = new Set(["quantization_config", "compression_config", "quantization"])

/** `dtype` is what transformers writes from version 4.56 on. */
const DTYPE_KEYS: ReadonlySet<string> = new Set(["torch_dtype", "dtype"])

/** The text of a config that the input does not have as a file. */
export function newConfig(config: JsonObject, dtype: DenseDtype): string {
  return `${stringifyJson(new Map<string, JsonValue>([...config, ["torch_dtype", TORCH_NAME[dtype]]]))}\n`
}

/** Where the config still declares a quantization: `quantization_config`, `text_config.quantization_config`, … */
export function declaredQuantization(config: JsonObject, path = ""): string[] {
  return [...config].flatMap(([key, value]) => {
    if (!isJsonObject(value)) return []
    if (QUANTIZATION_KEYS.has(key)) return [path + key]
    return isNestedConfig(key, value) ? declaredQuantization(value, `${path}${key}.`) : []
  })
}

/**
 * The text with the changes applied on the top level and in nested `*_config` objects (`text_config`,
 * `vision_config`, …), which is where multimodal models keep them. `config` is the same text parsed; without a change
 * the result is the text itself.
 */
export function rewriteConfig(text: string, config: JsonObject, changes: ConfigChanges): string {
  const start = text.indexOf("{")
  const { result, end } = rewriteObject(text, start, config, changes)
  return text.slice(0, start) + result + text.slice(end)
}

/** A member of an object in the text: `"key": value` from `start` to `end`, and what it becomes. */
interface Member {
  readonly start: number
  readonly end: number
  /** undefined: it is left out. */
  readonly result: string | undefined
}

interface Rewritten {
  readonly result: string
  /** Position behind the closing brace. */
  readonly end: number
}

/** `position` is that of the opening brace. */
function rewriteObject(text: string, position: number, object: JsonObject, changes: ConfigChanges): Rewritten {
  const members: Member[] = []
  let at = skipSpace(text, position + 1)
  while (text[at] !== "}") {
    const keyEnd = skipString(text, at)
    const key = parseString(text.slice(at, keyEnd))
    const valueStart = skipSpace(text, skipSpace(text, keyEnd) + 1)
    const value = object.get(key)
    if (value === undefined) throw new Error("the config's text and its parsed form differ")
    const { result, end } = rewriteValue(text, valueStart, key, value, changes)
    members.push({ start: at, end, result: result === undefined ? undefined : text.slice(at, valueStart) + result })
    at = skipSpace(text, end)
    if (text[at] === ",") at = skipSpace(text, at + 1)
  }
  return { result: joinMembers(text, position, at, members), end: at + 1 }
}

/** Each member that stays keeps the separator before it; the first one keeps that of the object's first. */
function joinMembers(text: string, open: number, close: number, members: readonly Member[]): string {
  const lead = text.slice(open + 1, members[0]?.start ?? close)
  const parts: string[] = []
  for (const [i, { start, result }] of members.entries()) {
    if (result === undefined) continue
    parts.push(parts.length === 0 ? lead : text.slice(members[i - 1]!.end, start), result)
  }
  const tail = members.length === 0 ? lead : text.slice(members.at(-1)!.end, close)
  return parts.length === 0 && members.length > 0 ? "{}" : `{${parts.join("")}${tail}}`
}

/** The text of a member's new value, undefined where it is left out; and where the old value ends. */
function rewriteValue(
  text: string,
  start: number,
  key: string,
  value: JsonValue,
  changes: ConfigChanges,
): { result: string | undefined; end: number } {
  const end = skipValue(text, start)
  const same = text.slice(start, end)
  if (QUANTIZATION_KEYS.has(key) && isJsonObject(value)) {
    return { result: changes.keepQuantization ? same : undefined, end }
  }
  if (DTYPE_KEYS.has(key) && typeof value === "string" && changes.dtype !== undefined) {
    return { result: JSON.stringify(TORCH_NAME[changes.dtype]), end }
  }
  return isNestedConfig(key, value) ? rewriteObject(text, start, value, changes) : { result: same, end }
}

function isNestedConfig(key: string, value: JsonValue): value is JsonObject {
  return key.endsWith("_config") && isJsonObject(value)
}

// The text is valid JSON: it has been parsed. What follows only finds where its parts end.

const SPACE = /[ \t\n\r]*/y
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/y
const SCALAR = /[^ \t\n\r,\]}]+/y
/** What opens, closes or hides brackets. */
const BRACKET = /["[\]{}]/g

function skip(expression: RegExp, text: string, position: number): number {
  expression.lastIndex = position
  return expression.test(text) ? expression.lastIndex : position
}

function skipSpace(text: string, position: number): number {
  return skip(SPACE, text, position)
}

function skipString(text: string, position: number): number {
  return skip(STRING, text, position)
}

function skipValue(text: string, position: number): number {
  if (text[position] === '"') return skipString(text, position)
  if (text[position] !== "{" && text[position] !== "[") return skip(SCALAR, text, position)
  let depth = 0
  let at = position
  do {
    BRACKET.lastIndex = at
    const index = BRACKET.exec(text)!.index
    if (text[index] === '"') {
      at = skipString(text, index)
      continue
    }
    depth += text[index] === "{" || text[index] === "[" ? 1 : -1
    at = index + 1
  } while (depth > 0)
  return at
}

function parseString(text: string): string {
  const value: unknown = JSON.parse(text)
  if (typeof value !== "string") throw new Error("a key is no string")
  return value
}
