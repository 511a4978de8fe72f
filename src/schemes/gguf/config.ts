/**
 * config.json of a GGUF model: hyperparameters from the metadata under the names that transformers gives them. A model
 * whose metadata leaves one open gets no config.json, and a note says which.
 */
import type { StoredTensor } from "../../containers/container.ts"
import {
  type GgufMetadata,
  ggufCount,
  ggufNumber,
  ggufNumbers,
  ggufText,
  shortestSingle,
} from "../../containers/gguf-metadata.ts"
import { JsonNumber, type JsonObject, type JsonValue } from "../../containers/json.ts"
import type { Architecture } from "./architectures.ts"

/** What a setting can be; undefined leaves it out. */
export type ConfigValue = JsonValue | number | undefined | readonly string[] | ConfigValues
export interface ConfigValues {
  readonly [name: string]: ConfigValue
}

/** A number that Python must read as a float: transformers refuses an int in its place. */
export function decimal(value: number): JsonNumber {
  const text = String(value)
  return new JsonNumber(/[.e]/.test(text) ? text : `${text}.0`)
}

/** Adds a model's own settings. */
export type ConfigBuilder = (source: ConfigSource) => ConfigValues

/** What a builder asks, and what it has to say. */
export class ConfigSource {
  readonly notes: string[] = []
  readonly missing: string[] = []
  readonly #gguf: GgufMetadata
  readonly #prefix: string
  readonly #tensors: ReadonlyMap<string, StoredTensor>

  constructor(gguf: GgufMetadata, prefix: string, tensors: ReadonlyMap<string, StoredTensor>) {
    this.#gguf = gguf
    this.#prefix = prefix
    this.#tensors = tensors
  }

  has(tensor: string): boolean {
    return this.#tensors.has(tensor)
  }

  shape(tensor: string): readonly number[] | undefined {
    return this.#tensors.get(tensor)?.shape
  }

  /** A number of the architecture's own, `key` without its prefix. */
  optional(key: string): number | undefined {
    return ggufNumber(this.#gguf, `${this.#prefix}.${key}`)
  }

  /** The same as a float, in the decimal that it was written as. */
  float(key: string): JsonNumber | undefined {
    const value = this.optional(key)
    return value === undefined || !Number.isFinite(value) ? undefined : decimal(Number(shortestSingle(value)))
  }

  requiredFloat(key: string): JsonNumber {
    const value = this.float(key)
    if (value === undefined) this.missing.push(`no ${this.#prefix}.${key}`)
    return value ?? decimal(0)
  }

  /** A number without which there is no config. An array of equal numbers, one for each layer, is one number. */
  required(key: string): number {
    const value = this.optional(key)
    if (value !== undefined) return value
    const values = new Set(ggufNumbers(this.#gguf, `${this.#prefix}.${key}`))
    const [only] = values
    if (only !== undefined && values.size === 1) return only
    this.missing.push(values.size > 1 ? `${this.#prefix}.${key} differs by layer` : `no ${this.#prefix}.${key}`)
    return 0
  }

  text(key: string): string | undefined {
    return ggufText(this.#gguf, `${this.#prefix}.${key}`)
  }

  token(name: string): number | undefined {
    return ggufNumber(this.#gguf, `tokenizer.ggml.${name}_token_id`)
  }

  vocabulary(): number {
    const size = this.shape("token_embd.weight")?.[0] ?? ggufCount(this.#gguf, "tokenizer.ggml.tokens")
    if (size === undefined) this.missing.push("no token_embd.weight")
    return size ?? 0
  }
}

export function buildConfig(
  gguf: GgufMetadata,
  architecture: Architecture,
  tensors: ReadonlyMap<string, StoredTensor>,
): { config: JsonObject | undefined; notes: readonly string[] } {
  const source = new ConfigSource(gguf, architecture.key, tensors)
  const { className, modelType } = architecture
  const values = {
    architectures: [className],
    model_type: modelType,
    ...common(source),
    ...architecture.settings(source),
  }
  if (source.missing.length > 0) {
    return { config: undefined, notes: [`no config.json is written: the metadata has ${source.missing.join(", ")}`] }
  }
  return { config: jsonObject(values), notes: source.notes }
}

function jsonObject(values: ConfigValues): JsonObject {
  const entries = Object.entries(values).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, jsonValue(value)] as const],
  )
  return new Map(entries)
}

function jsonValue(value: Exclude<ConfigValue, undefined>): JsonValue {
  if (typeof value === "number") return new JsonNumber(String(value))
  const isRecord = typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype
  return isRecord ? jsonObject(value as ConfigValues) : (value as JsonValue)
}

/** Settings that every model has. */
function common(source: ConfigSource): ConfigValues {
  const heads = source.required("attention.head_count")
  return {
    vocab_size: source.vocabulary(),
    hidden_size: source.required("embedding_length"),
    num_hidden_layers: source.required("block_count"),
    num_attention_heads: heads,
    num_key_value_heads: source.optional("attention.head_count_kv") ?? heads,
    head_dim: source.optional("attention.key_length"),
    max_position_embeddings: source.required("context_length"),
    rms_norm_eps: source.requiredFloat("attention.layer_norm_rms_epsilon"),
    rope_theta: source.float("rope.freq_base") ?? decimal(10_000),
    tie_word_embeddings: !source.has("output.weight"),
    bos_token_id: source.token("bos"),
    eos_token_id: source.token("eos"),
    pad_token_id: source.token("padding"),
  }
}
