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
import { fileFault, quote } from "../containers/quote.ts"
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

/** What `config` (config.json) or one of `sideFiles` declares. Throws MalformedError for settings of a wrong type or value. */
export function findDeclared(
  config: DeclaringFile | undefined,
  sideFiles: readonly DeclaringFile[],
): DeclaredQuantization | undefined {
  const declared = (config && fromConfig(config, config.content, "", 0)) ?? firstOf(sideFiles)
  if (declared !== undefined) {
    const file = [config, ...sideFiles].find((candidate) => declared.origin.startsWith(`${candidate?.name}`))
    checkNumbers(declared.settings, file?.path ?? declared.origin, declared.origin, undefined)
  }
  return declared
}

function firstOf(files: readonly DeclaringFile[]): DeclaredQuantization | undefined {
  for (const name of DECLARING_FILES) {
    const file = files.find((candidate) => candidate.name === name)
    const declared = file && fromSideFile(file)
    if (declared !== undefined) return declared
  }
  return undefined
}

function fromConfig(
  file: DeclaringFile,
  config: JsonObject,
  prefix: string,
  depth: number,
): DeclaredQuantization | undefined {
  for (const key of ["quantization_config", "compression_config"]) {
    const settings = objectMember(file, config, key, prefix)
    // An empty object is what some exporters leave behind when they dequantize.
    if (settings !== undefined && settings.size > 0) {
      const origin = `${file.name}: ${prefix}${key}`
      return { method: methodOf(file, settings, config, origin), origin, settings }
    }
  }
  const mlx = objectMember(file, config, "quantization", prefix)
  if (mlx !== undefined && mlx.size > 0) {
    return { method: "mlx", origin: `${file.name}: ${prefix}quantization`, settings: mlx }
  }
  if (depth === CONFIG_DEPTH_MAX) return undefined
  for (const [key, value] of config) {
    if (!key.endsWith("_config") || !isJsonObject(value)) continue
    const declared = fromConfig(file, value, `${prefix}${key}.`, depth + 1)
    if (declared !== undefined) return declared
  }
  return undefined
}

function objectMember(file: DeclaringFile, config: JsonObject, key: string, prefix: string): JsonObject | undefined {
  const value = config.get(key)
  if (value === undefined || value === null) return undefined
  if (isJsonObject(value)) return value
  throw fileFault(file.path, `${prefix}${key} is not an object`, { expected: "an object", found: describeJson(value) })
}

/** `quant_method`, or what the other keys say where it is missing. */
function methodOf(file: DeclaringFile, settings: JsonObject, config: JsonObject, origin: string): string {
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
  throw fileFault(file.path, `${origin.slice(file.name.length + 2)} has no quant_method`, {
    expected: "the name of a method",
    found: "nothing",
  })
}

function fromSideFile(file: DeclaringFile): DeclaredQuantization | undefined {
  if (file.content.size === 0) return undefined
  if (file.name === "hf_quant_config.json") {
    const settings = objectMember(file, file.content, "quantization", "")
    return settings && { method: "modelopt", origin: `${file.name}: quantization`, settings }
  }
  const method = file.content.get("quant_method")
  const fallback = file.name === "quant_config.json" || file.content.has("w_bit") ? "awq" : "gptq"
  return {
    method: typeof method === "string" ? method.toLowerCase() : fallback,
    origin: file.name,
    settings: file.content,
  }
}

/** Sizes by which something is divided later; -1 stands for "the whole row" in the group sizes. */
const SIZE_KEYS: ReadonlySet<string> = new Set([
  "group_size",
  "q_group_size",
  "blocksize",
  "block_size",
  "weight_block_size",
])
const BIT_KEYS: ReadonlySet<string> = new Set(["bits", "w_bit", "num_bits"])

function checkNumbers(value: JsonValue, path: string, origin: string, key: string | undefined): void {
  if (isJsonObject(value)) {
    for (const [name, member] of value) checkNumbers(member, path, origin, name)
  } else if (isJsonArray(value)) {
    for (const item of value) checkNumbers(item, path, origin, key)
  } else if (key !== undefined && value !== null && (SIZE_KEYS.has(key) || BIT_KEYS.has(key))) {
    const number = value instanceof JsonNumber ? Number(value.text) : Number.NaN
    const size = SIZE_KEYS.has(key)
    const valid = size ? Number.isSafeInteger(number) && (number > 0 || number === -1) : number > 0
    if (valid) return
    const expected = size ? "a positive integer" : "a positive number"
    const place = origin.replace(/^[^:]*: /, "")
    throw fileFault(path, `${place} has a wrong ${quote(key)}`, { expected, found: describeJson(value) })
  }
}
