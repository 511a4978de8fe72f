/**
 * The quantization that a checkpoint declares. Places, the first that is there wins:
 *
 *     config.json: quantization_config, then that of a nested text_config and the like; compression_config (older
 *       compressed-tensors); quantization (MLX)
 *     hf_quant_config.json (modelopt), quantize_config.json (GPTQ and others), quant_config.json (AWQ)
 */
import {
  describeJson,
  isJsonArray,
  isJsonObject,
  JsonNumber,
  type JsonObject,
  type JsonValue,
} from "../containers/json.ts"
import { escapeText, fileFault, quote } from "../containers/quote.ts"
import type { DeclaredQuantization } from "./checkpoint.ts"

/** Nested configs (`text_config`, `thinker_config.text_config`) that are searched below the top level. */
const CONFIG_DEPTH_MAX = 3

/** A parsed file that may declare a quantization. */
export interface DeclaringFile {
  readonly path: string
  readonly name: string
  readonly content: JsonObject
}

/** Side files that declare a quantization, in the order in which they are asked. */
export const DECLARING_FILES = ["hf_quant_config.json", "quantize_config.json", "quant_config.json"] as const

/**
 * What `config` (config.json) or one of `sideFiles` declares. Throws MalformedError for settings of a wrong type or
 * value.
 */
export function findDeclared(
  config: DeclaringFile | undefined,
  sideFiles: readonly DeclaringFile[],
): DeclaredQuantization | undefined {
  const declared = config && fromConfig(config, config.content, "", 0)
  if (declared !== undefined) return declared
  for (const name of DECLARING_FILES) {
    const file = sideFiles.find((candidate) => candidate.name === name)
    const found = file && fromSideFile(file)
    if (found !== undefined) return found
  }
  return undefined
}

/** `place` is where in the file the settings stand; "" where they are the file. */
function declare(file: DeclaringFile, place: string, method: string, settings: JsonObject): DeclaredQuantization {
  const shown = escapeText(place)
  checkNumbers(settings, { path: file.path, place: shown === "" ? "file" : shown })
  return { method, origin: shown === "" ? file.name : `${file.name}: ${shown}`, settings }
}

function fromConfig(
  file: DeclaringFile,
  config: JsonObject,
  prefix: string,
  depth: number,
): DeclaredQuantization | undefined {
  for (const key of ["quantization_config", "compression_config"]) {
    const place = prefix + key
    const settings = objectMember(file, config, key, place)
    // An empty object is what some exporters leave behind when they dequantize.
    if (settings !== undefined && settings.size > 0) {
      return declare(file, place, methodOf(file, place, settings, config), settings)
    }
  }
  const mlx = config.get("quantization")
  if (isJsonObject(mlx) && mlx.size > 0) return declare(file, `${prefix}quantization`, "mlx", mlx)
  if (depth === CONFIG_DEPTH_MAX) return undefined
  for (const [key, value] of config) {
    if (!key.endsWith("_config") || !isJsonObject(value)) continue
    const declared = fromConfig(file, value, `${prefix}${key}.`, depth + 1)
    if (declared !== undefined) return declared
  }
  return undefined
}

function objectMember(file: DeclaringFile, config: JsonObject, key: string, place: string): JsonObject | undefined {
  const value = config.get(key)
  if (value === undefined || value === null) return undefined
  if (isJsonObject(value)) return value
  throw fileFault(file.path, `${escapeText(place)} is not an object`, {
    expected: "an object",
    found: describeJson(value),
  })
}

/** `quant_method`, or what the other keys say where it is missing. */
function methodOf(file: DeclaringFile, place: string, settings: JsonObject, config: JsonObject): string {
  const method = settings.get("quant_method")
  if (typeof method === "string" && method !== "") return method.toLowerCase()
  if (method !== undefined && method !== null) {
    throw fileFault(file.path, "quant_method is not a name", { expected: "a string", found: describeJson(method) })
  }
  if (isJsonObject(config.get("quantization"))) return "mlx"
  if (settings.has("quant_algo")) return "modelopt"
  if (settings.has("config_groups")) return "compressed-tensors"
  if (settings.has("load_in_4bit") || settings.has("load_in_8bit")) return "bitsandbytes"
  if (settings.has("group_size") && settings.has("bits")) return "mlx"
  throw fileFault(file.path, `${escapeText(place)} has no quant_method`, {
    expected: "the name of a method",
    found: "nothing",
  })
}

function fromSideFile(file: DeclaringFile): DeclaredQuantization | undefined {
  if (file.content.size === 0) return undefined
  if (file.name === "hf_quant_config.json") {
    const settings = objectMember(file, file.content, "quantization", "quantization")
    return settings && declare(file, "quantization", "modelopt", settings)
  }
  const method = file.content.get("quant_method")
  const fallback = file.name === "quant_config.json" || file.content.has("w_bit") ? "awq" : "gptq"
  return declare(file, "", typeof method === "string" ? method.toLowerCase() : fallback, file.content)
}

/** Sizes by which something is divided later. -1 stands for "the whole row" in the group sizes. */
const GROUP_KEYS: ReadonlySet<string> = new Set(["group_size", "q_group_size"])
const BLOCK_KEYS: ReadonlySet<string> = new Set(["blocksize", "block_size", "weight_block_size"])
/** Fractions occur: EXL2 counts bits on average. */
const BIT_KEYS: ReadonlySet<string> = new Set(["bits", "w_bit", "num_bits"])

interface Place {
  readonly path: string
  readonly place: string
}

function checkNumbers(value: JsonValue, where: Place, key = ""): void {
  if (isJsonObject(value)) {
    for (const [name, member] of value) checkNumbers(member, where, name)
  } else if (isJsonArray(value)) {
    for (const item of value) checkNumbers(item, where, key)
  } else if (value !== null && (GROUP_KEYS.has(key) || BLOCK_KEYS.has(key) || BIT_KEYS.has(key))) {
    const number = value instanceof JsonNumber ? Number(value.text) : Number.NaN
    const valid = number > 0 || (number === -1 && GROUP_KEYS.has(key))
    if (valid && (BIT_KEYS.has(key) || Number.isSafeInteger(number))) return
    const expected = BIT_KEYS.has(key) ? "a positive number" : "a positive integer"
    const what = `${where.place} has a wrong ${quote(key)}`
    throw fileFault(where.path, what, { expected, found: describeJson(value) })
  }
}
