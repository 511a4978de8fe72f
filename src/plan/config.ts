/**
 * config.json of the output: what the quantization declares is taken out, and the dtype that stands there becomes the new
 * one. Everything else keeps its order and the text of its numbers.
 */
import type { DenseDtype } from "../containers/dtype.ts"
import { isJsonObject, type JsonObject, type JsonValue } from "../containers/json.ts"

export interface ConfigChanges {
  /** dtype of the dequantized tensors; undefined: the dtype keys stay, because no tensor has got another dtype. */
  readonly dtype: DenseDtype | undefined
  /** Some weights stay quantized: loaders still need the settings. */
  readonly keepQuantization: boolean
}

/** Names of torch dtypes, as transformers writes them. */
const TORCH_NAME: Readonly<Record<DenseDtype, string>> = { BF16: "bfloat16", F16: "float16", F32: "float32" }

/** Keys whose object describes a quantization: transformers' own, and the older one of compressed-tensors. */
const QUANTIZATION_KEYS: ReadonlySet<string> = new Set(["quantization_config", "compression_config"])

/** MLX's own block; other programs may mean something else by the word. */
const MLX_KEY = "quantization"

/** `dtype` is what transformers writes from version 4.56 on. */
const DTYPE_KEYS: ReadonlySet<string> = new Set(["torch_dtype", "dtype"])

/**
 * The same object with the changes applied on the top level and in nested `*_config` objects (`text_config`,
 * `vision_config`, …), which is where multimodal models keep them. The very same object where nothing changes.
 */
export function rewriteConfig(config: JsonObject, changes: ConfigChanges): JsonObject {
  const members: [string, JsonValue][] = []
  let changed = false
  for (const [key, value] of config) {
    const next = rewriteMember(key, value, changes)
    changed ||= next !== value
    if (next !== undefined) members.push([key, next])
  }
  return changed ? new Map(members) : config
}

/** The member's new value; undefined: it is left out. */
function rewriteMember(key: string, value: JsonValue, changes: ConfigChanges): JsonValue | undefined {
  if (declaresQuantization(key, value)) return changes.keepQuantization ? value : undefined
  if (DTYPE_KEYS.has(key) && typeof value === "string" && changes.dtype !== undefined) {
    return TORCH_NAME[changes.dtype]
  }
  if (key.endsWith("_config") && isJsonObject(value)) return rewriteConfig(value, changes)
  return value
}

/** Where the config still declares a quantization: `quantization_config`, `text_config.quantization_config`, … */
export function declaredQuantization(config: JsonObject, path = ""): string[] {
  return [...config].flatMap(([key, value]) => {
    if (declaresQuantization(key, value)) return [path + key]
    return key.endsWith("_config") && isJsonObject(value) ? declaredQuantization(value, `${path}${key}.`) : []
  })
}

function declaresQuantization(key: string, value: JsonValue): boolean {
  if (!isJsonObject(value)) return false
  return QUANTIZATION_KEYS.has(key) || (key === MLX_KEY && (value.has("bits") || value.has("group_size")))
}
