/**
 * What llama.cpp calls the tensors of a model, and what transformers calls them. One table for each family of names;
 * what differs besides the name (order of rows, norms stored with one added, stacked experts) stands beside it.
 * Source: llama.cpp, convert_hf_to_gguf.py and gguf-py/gguf/tensor_mapping.py.
 */

/** What becomes of the tensor (or tensors: weight and bias) of one llama.cpp name. */
export type Rule =
  | {
      readonly kind: "tensor"
      /** With its suffix `.weight` or `.bias` kept. */
      readonly name: string
      /** Rows of each head are pairs of llama.cpp's rotary order; heads are counted by query or by key. */
      readonly heads?: "query" | "key"
      /** Stored with one added. */
      readonly plusOne?: true
      /** A vector that is a matrix of one row for transformers. */
      readonly oneRow?: true
    }
  /** One tensor of all experts that becomes one for each; `#` is the expert's number. */
  | { readonly kind: "experts"; readonly name: string }
  /**
   * Experts that stay one tensor, its matrices transposed, without suffix `.weight` and with `_bias` for `.bias`.
   * Several stored tensors may be parts of it, whose rows take turns.
   */
  | { readonly kind: "stack"; readonly name: string; readonly part: number; readonly parts: number }
  /** A parameter of its own, without suffix. */
  | { readonly kind: "bare"; readonly name: string }
  /** Nothing: transformers computes it. */
  | { readonly kind: "dropped" }

export type Rules = Readonly<Record<string, Rule>>

const tensor = (name: string): Rule => ({ kind: "tensor", name })
const norm = (name: string): Rule => ({ kind: "tensor", name, plusOne: true })

/** Names outside of layers. */
export const TOP: Rules = {
  token_embd: tensor("model.embed_tokens"),
  output_norm: tensor("model.norm"),
  output: tensor("lm_head"),
  rope_freqs: { kind: "dropped" },
  rope_factors_long: { kind: "dropped" },
  rope_factors_short: { kind: "dropped" },
}

const ATTENTION: Rules = {
  attn_q: tensor("self_attn.q_proj"),
  attn_k: tensor("self_attn.k_proj"),
  attn_v: tensor("self_attn.v_proj"),
  attn_output: tensor("self_attn.o_proj"),
  attn_q_norm: tensor("self_attn.q_norm"),
  attn_k_norm: tensor("self_attn.k_norm"),
}

const NORMS: Rules = {
  attn_norm: tensor("input_layernorm"),
  ffn_norm: tensor("post_attention_layernorm"),
}

const MLP: Rules = {
  ffn_gate: tensor("mlp.gate_proj"),
  ffn_up: tensor("mlp.up_proj"),
  ffn_down: tensor("mlp.down_proj"),
}

/** Qwen 2 and 3. */
export const QWEN: Rules = { ...ATTENTION, ...NORMS, ...MLP }

export const QWEN_MOE: Rules = {
  ...QWEN,
  ffn_gate_inp: tensor("mlp.gate"),
  ffn_gate_exps: { kind: "experts", name: "mlp.experts.#.gate_proj" },
  ffn_up_exps: { kind: "experts", name: "mlp.experts.#.up_proj" },
  ffn_down_exps: { kind: "experts", name: "mlp.experts.#.down_proj" },
  ffn_gate_inp_shexp: { kind: "tensor", name: "mlp.shared_expert_gate", oneRow: true },
  ffn_gate_shexp: tensor("mlp.shared_expert.gate_proj"),
  ffn_up_shexp: tensor("mlp.shared_expert.up_proj"),
  ffn_down_shexp: tensor("mlp.shared_expert.down_proj"),
}

/** The one family whose query and key rows llama.cpp reorders. */
const LLAMA_ATTENTION: Rules = {
  ...ATTENTION,
  attn_q: { kind: "tensor", name: "self_attn.q_proj", heads: "query" },
  attn_k: { kind: "tensor", name: "self_attn.k_proj", heads: "key" },
}

/** Llama, and what was converted as one: Mistral, Yi, SmolLM and others. */
export const LLAMA: Rules = { ...LLAMA_ATTENTION, ...NORMS, ...MLP }

/** Mixtral is Llama with experts for llama.cpp. */
export const MIXTRAL: Rules = {
  ...LLAMA_ATTENTION,
  ...NORMS,
  ffn_gate_inp: tensor("block_sparse_moe.gate"),
  ffn_gate_exps: { kind: "experts", name: "block_sparse_moe.experts.#.w1" },
  ffn_down_exps: { kind: "experts", name: "block_sparse_moe.experts.#.w2" },
  ffn_up_exps: { kind: "experts", name: "block_sparse_moe.experts.#.w3" },
}

export const PHI3: Rules = {
  ...NORMS,
  attn_qkv: tensor("self_attn.qkv_proj"),
  attn_output: tensor("self_attn.o_proj"),
  ffn_up: tensor("mlp.gate_up_proj"),
  ffn_down: tensor("mlp.down_proj"),
}

export const GEMMA_TOP: Rules = { ...TOP, output_norm: norm("model.norm") }

export const GEMMA: Rules = {
  ...ATTENTION,
  ...MLP,
  attn_norm: norm("input_layernorm"),
  ffn_norm: norm("post_attention_layernorm"),
}

/** Gemma 2 and 3 have norms before and after both halves of a layer; Gemma 3 also those of queries and keys. */
export const GEMMA2: Rules = {
  ...GEMMA,
  attn_q_norm: norm("self_attn.q_norm"),
  attn_k_norm: norm("self_attn.k_norm"),
  post_attention_norm: norm("post_attention_layernorm"),
  ffn_norm: norm("pre_feedforward_layernorm"),
  post_ffw_norm: norm("post_feedforward_layernorm"),
}

export const GPT_OSS: Rules = {
  ...ATTENTION,
  attn_norm: tensor("input_layernorm"),
  post_attention_norm: tensor("post_attention_layernorm"),
  attn_sinks: { kind: "bare", name: "self_attn.sinks" },
  ffn_gate_inp: tensor("mlp.router"),
  ffn_gate_exps: { kind: "stack", name: "mlp.experts.gate_up_proj", part: 0, parts: 2 },
  ffn_up_exps: { kind: "stack", name: "mlp.experts.gate_up_proj", part: 1, parts: 2 },
  ffn_down_exps: { kind: "stack", name: "mlp.experts.down_proj", part: 0, parts: 1 },
}

/** A tensor's rule, and the parts of its name. */
export interface NamedRule {
  readonly rule: Rule
  /** `model.layers.3.` or nothing. */
  readonly prefix: string
  readonly layer: number
  readonly suffix: "weight" | "bias"
}

const LAYER_NAME = /^blk\.(\d+)\.(.+)\.(weight|bias)$/
const TOP_NAME = /^(.+)\.(weight|bias)$/

/** The rule for a stored name; undefined where the tables have none. */
export function ruleOf(name: string, rules: Rules, top: Rules): NamedRule | undefined {
  const [, layer, inLayer, layerSuffix] = LAYER_NAME.exec(name) ?? []
  const [, whole, topSuffix] = TOP_NAME.exec(name) ?? []
  const base = inLayer ?? whole
  const table = layer === undefined ? top : rules
  const suffix = (layerSuffix ?? topSuffix) === "bias" ? "bias" : "weight"
  const rule = base === undefined ? undefined : (ownRule(table, base) ?? singleExpert(table, base))
  if (rule === undefined) return undefined
  const prefix = layer === undefined ? "" : `model.layers.${Number(layer)}.`
  return { rule, prefix, layer: Number(layer ?? 0), suffix }
}

function ownRule(table: Rules, base: string): Rule | undefined {
  return Object.hasOwn(table, base) ? table[base] : undefined
}

/** Files of 2023 have a tensor for each expert: `ffn_gate.3` is one of what later is `ffn_gate_exps`. */
function singleExpert(table: Rules, base: string): Rule | undefined {
  const [, name, expert] = /^(ffn_(?:gate|up|down))\.(\d+)$/.exec(base) ?? []
  const rule = name === undefined ? undefined : ownRule(table, `${name}_exps`)
  return rule?.kind === "experts" ? tensor(rule.name.replace("#", String(Number(expert)))) : undefined
}
