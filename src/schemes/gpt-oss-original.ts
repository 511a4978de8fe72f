/**
 * gpt-oss under the names of its `original/` folder in the form that transformers loads (`--layout hf`): other names,
 * queries, keys and values as three tensors, experts transposed, config.json as the Hub has it. Source: transformers,
 * convert_gpt_oss_weights_to_hf.py; openai/gpt-oss, gpt_oss/torch/model.py.
 *
 *     block.N.attn.qkv.weight [q + k + v, in]   self_attn.q_proj, k_proj, v_proj
 *     block.N.mlp.mlp1_weight [E, out, in]      mlp.experts.gate_up_proj [E, in, out]
 */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import type { StoredTensor } from "../containers/container.ts"
import { JsonNumber, type JsonObject, type JsonValue, jsonInteger } from "../containers/json.ts"
import { tensorFault, tensorLine } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { UnsupportedError } from "../errors.ts"
import type { Inventory, Weight } from "./scheme.ts"
import { sliceRows } from "./slice.ts"

const TOP: Readonly<Record<string, string>> = {
  "embedding.weight": "model.embed_tokens.weight",
  "unembedding.weight": "lm_head.weight",
  "norm.scale": "model.norm.weight",
}

const LAYER: Readonly<Record<string, string>> = {
  "attn.norm.scale": "input_layernorm.weight",
  "attn.sinks": "self_attn.sinks",
  "attn.out.weight": "self_attn.o_proj.weight",
  "attn.out.bias": "self_attn.o_proj.bias",
  "mlp.norm.scale": "post_attention_layernorm.weight",
  "mlp.gate.weight": "mlp.router.weight",
  "mlp.gate.bias": "mlp.router.bias",
  "mlp.mlp1_weight": "mlp.experts.gate_up_proj",
  "mlp.mlp2_weight": "mlp.experts.down_proj",
  "mlp.mlp1_bias": "mlp.experts.gate_up_proj_bias",
  "mlp.mlp2_bias": "mlp.experts.down_proj_bias",
}

const LAYER_NAME = /^block\.(\d+)\.(.+)$/
const EXPERTS = /^block\.\d+\.mlp\.mlp[12]_weight$/
/** `gpt_oss/torch/model.py`: ModelConfig.experts_per_token, for configs that do not say. */
const EXPERTS_PER_TOKEN = 4

/** Whether the experts of an inventory have the names of `original/`. */
export function isGptOssOriginal(inventory: Inventory): boolean {
  return inventory.weights.some(({ name }) => EXPERTS.test(name))
}

/** The inventory with transformers' names. Throws UnsupportedError for a tensor that gpt-oss does not have. */
export function arrangeGptOss(inventory: Inventory, checkpoint: Checkpoint): Inventory {
  const plain = inventory.plain.flatMap((tensor) => arrangePlain(tensor, checkpoint))
  const weights = inventory.weights.map((weight) => arrangeExperts(weight))
  const config = hubConfig(checkpoint.config)
  return { ...inventory, weights, plain, ...(config === undefined ? {} : { config }) }
}

function hubName(name: string): string | undefined {
  const [, layer, rest] = LAYER_NAME.exec(name) ?? []
  if (layer === undefined || rest === undefined) return Object.hasOwn(TOP, name) ? TOP[name] : undefined
  return Object.hasOwn(LAYER, rest) ? `model.layers.${Number(layer)}.${LAYER[rest]}` : undefined
}

function unknown(tensor: StoredTensor): UnsupportedError {
  const hint = "use --layout auto or raw, which keep the names"
  return new UnsupportedError(tensorLine(tensor.file.path, tensor.name, "has no known place in gpt-oss"), { hint })
}

/** Stored parts get the Hub's names too: weights that an option leaves quantized are then still found. */
function arrangeExperts(weight: Weight): Weight {
  const name = hubName(weight.name)
  const [codes, scales] = weight.sources
  if (name === undefined || codes === undefined || scales === undefined) throw unknown(weight.sources[0]!.tensor)
  const renamed = [
    { ...codes, tensor: { ...codes.tensor, name: `${name}_blocks` } },
    { ...scales, tensor: { ...scales.tensor, name: `${name}_scales` } },
  ]
  return { ...weight, name, sources: renamed, orientation: "transposed" }
}

function arrangePlain(tensor: StoredTensor, checkpoint: Checkpoint): StoredTensor[] {
  const [, layer, suffix] = /^block\.(\d+)\.attn\.qkv\.(weight|bias)$/.exec(tensor.name) ?? []
  if (layer !== undefined) return splitHeads(tensor, layer, suffix ?? "", checkpoint)
  const name = hubName(tensor.name)
  if (name === undefined) throw unknown(tensor)
  return [{ ...tensor, name }]
}

/** Rows of queries are as many as the output projection has columns; keys and values share the rest. */
function splitHeads(tensor: StoredTensor, layer: string, suffix: string, checkpoint: Checkpoint): StoredTensor[] {
  const queries = checkpoint.tensors.get(`block.${layer}.attn.out.weight`)?.shape[1]
  const rows = tensor.shape[0] ?? 0
  const keys = queries === undefined ? 0 : (rows - queries) / 2
  if (queries === undefined || keys <= 0 || !Number.isInteger(keys)) {
    throw tensorFault(tensor.file.path, tensor.name, "rows are not queries, keys and values", {
      expected: `${queries ?? "an unknown number of"} rows and an even number more`,
      found: shapeText(tensor.shape),
    })
  }
  const prefix = `model.layers.${Number(layer)}.self_attn.`
  return [
    { ...sliceRows(tensor, 0, queries), name: `${prefix}q_proj.${suffix}` },
    { ...sliceRows(tensor, queries, keys), name: `${prefix}k_proj.${suffix}` },
    { ...sliceRows(tensor, queries + keys, keys), name: `${prefix}v_proj.${suffix}` },
  ]
}

/** config.json of `original/` under transformers' keys; undefined where it is not one, or lacks a number. */
function hubConfig(config: JsonObject | undefined): JsonObject | undefined {
  if (config === undefined || config.has("model_type")) return undefined
  const layers = jsonInteger(config.get("num_hidden_layers"))
  const context = jsonInteger(config.get("initial_context_length"))
  const factor = config.get("rope_scaling_factor")
  if (layers === undefined || context === undefined || !(factor instanceof JsonNumber)) return undefined
  const same = (key: string): [string, JsonValue][] => (config.has(key) ? [[key, config.get(key)!]] : [])
  const renamed = (from: string, to: string): [string, JsonValue][] => same(from).map(([, value]) => [to, value])
  const number = (value: number) => new JsonNumber(String(value))
  const kinds = Array.from({ length: layers }, (_, i) => (i % 2 === 0 ? "sliding_attention" : "full_attention"))
  const scaling: [string, JsonValue][] = [
    ["rope_type", "yarn"],
    ["factor", asFloat(factor)],
    ["original_max_position_embeddings", number(context)],
    ["beta_fast", asFloat(config.get("rope_ntk_beta") ?? number(32))],
    ["beta_slow", asFloat(config.get("rope_ntk_alpha") ?? number(1))],
    ["truncate", false],
  ]
  return new Map<string, JsonValue>([
    ["architectures", ["GptOssForCausalLM"]],
    ["model_type", "gpt_oss"],
    ...["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "head_dim"].flatMap(same),
    ...["num_attention_heads", "num_key_value_heads", "sliding_window"].flatMap(same),
    ...renamed("num_experts", "num_local_experts"),
    ["num_experts_per_tok", config.get("experts_per_token") ?? number(EXPERTS_PER_TOKEN)],
    ["max_position_embeddings", number(context * Number(factor.text))],
    ["layer_types", kinds],
    ["attention_bias", true],
    ["hidden_act", "silu"],
    ["rms_norm_eps", new JsonNumber("1e-05")],
    ["rope_theta", asFloat(config.get("rope_theta") ?? number(150_000))],
    ["rope_scaling", new Map(scaling)],
    ["swiglu_limit", asFloat(config.get("swiglu_limit") ?? number(7))],
    ["tie_word_embeddings", false],
    ["eos_token_id", number(200_002)],
    ["pad_token_id", number(199_999)],
  ])
}

/** transformers tells an int from a float. */
function asFloat(value: JsonValue): JsonValue {
  if (!(value instanceof JsonNumber) || /[.e]/i.test(value.text)) return value
  return new JsonNumber(`${value.text}.0`)
}
