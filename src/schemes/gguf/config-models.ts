/**
 * What the config.json of each model has beyond the common settings. Where llama.cpp has a number in its code instead of
 * the metadata, it stands here too. Sources: llama.cpp, convert_hf_to_gguf.py and src/llama-model.cpp; transformers,
 * models/<name>/configuration_<name>.py.
 */
import { type ConfigSource, type ConfigValues, decimal } from "./config.ts"

/** Size of the feed-forward layer, of models without experts. */
function feedForward(source: ConfigSource): ConfigValues {
  return { intermediate_size: source.required("feed_forward_length") }
}

function experts(source: ConfigSource, count: "num_experts" | "num_local_experts"): ConfigValues {
  return {
    [count]: source.required("expert_count"),
    num_experts_per_tok: source.required("expert_used_count"),
  }
}

/** Linear and YaRN scaling are in the metadata; what other kinds have beside their factors is not. */
function ropeScaling(source: ConfigSource): ConfigValues {
  if (source.has("rope_freqs.weight")) {
    source.notes.push(
      "the rotary frequencies of this model are scaled (rope_freqs.weight), and the metadata does not say how: set rope_scaling in config.json as the original model has it",
    )
    return {}
  }
  const type = source.text("rope.scaling.type")
  const factor = source.float("rope.scaling.factor")
  if (type === undefined || type === "none" || factor === undefined) return {}
  const original = source.optional("rope.scaling.original_context_length")
  const scaling = { rope_type: type, factor, original_max_position_embeddings: original }
  if (type === "linear") return { rope_scaling: { rope_type: type, factor } }
  if (type === "yarn") return { rope_scaling: scaling }
  source.notes.push(`rope scaling of type "${type}" cannot be rebuilt: config.json has no rope_scaling`)
  return {}
}

export function llama(source: ConfigSource): ConfigValues {
  return {
    ...feedForward(source),
    hidden_act: "silu",
    attention_bias: source.has("blk.0.attn_q.bias"),
    mlp_bias: source.has("blk.0.ffn_up.bias"),
    ...ropeScaling(source),
  }
}

export function mixtral(source: ConfigSource): ConfigValues {
  return {
    ...feedForward(source),
    hidden_act: "silu",
    ...experts(source, "num_local_experts"),
    sliding_window: null,
  }
}

export function qwen2(source: ConfigSource): ConfigValues {
  return { ...feedForward(source), hidden_act: "silu", use_sliding_window: false, ...ropeScaling(source) }
}

export function qwen3(source: ConfigSource): ConfigValues {
  return { ...qwen2(source), attention_bias: source.has("blk.0.attn_q.bias") }
}

export function qwen2Moe(source: ConfigSource): ConfigValues {
  return {
    ...qwen2(source),
    ...experts(source, "num_experts"),
    moe_intermediate_size: source.required("expert_feed_forward_length"),
    shared_expert_intermediate_size: source.required("expert_shared_feed_forward_length"),
    decoder_sparse_step: 1,
    norm_topk_prob: false,
  }
}

export function qwen3Moe(source: ConfigSource): ConfigValues {
  return {
    ...qwen3(source),
    ...experts(source, "num_experts"),
    moe_intermediate_size: source.required("expert_feed_forward_length"),
    decoder_sparse_step: 1,
    norm_topk_prob: true,
  }
}

export function gemma(source: ConfigSource): ConfigValues {
  return { ...feedForward(source), hidden_activation: "gelu_pytorch_tanh" }
}

/** The largest model of each generation scales queries by the width of a head of the hidden size, all others by their own. */
function queryScale(source: ConfigSource, largest: number): number {
  const isLargest = source.required("block_count") === largest
  if (!isLargest) return source.required("attention.key_length")
  return source.required("embedding_length") / source.required("attention.head_count")
}

export function gemma2(source: ConfigSource): ConfigValues {
  return {
    ...gemma(source),
    query_pre_attn_scalar: queryScale(source, 46),
    sliding_window: source.optional("attention.sliding_window") ?? 4096,
    attn_logit_softcapping: source.float("attn_logit_softcapping") ?? decimal(50),
    final_logit_softcapping: source.float("final_logit_softcapping") ?? decimal(30),
  }
}

export function gemma3(source: ConfigSource): ConfigValues {
  return {
    ...gemma(source),
    query_pre_attn_scalar: queryScale(source, 62),
    sliding_window: source.required("attention.sliding_window"),
    sliding_window_pattern: 6,
    rope_local_base_freq: decimal(10_000),
    attn_logit_softcapping: null,
    final_logit_softcapping: null,
    ...ropeScaling(source),
  }
}

export function phi3(source: ConfigSource): ConfigValues {
  if (source.has("rope_factors_long.weight")) {
    source.notes.push(
      "the rotary factors of this model are tensors (rope_factors_long.weight), which config.json would have as numbers: set rope_scaling as the original model has it",
    )
  }
  return {
    ...feedForward(source),
    hidden_act: "silu",
    original_max_position_embeddings:
      source.optional("rope.scaling.original_context_length") ?? source.optional("context_length"),
    sliding_window: source.optional("attention.sliding_window") ?? null,
  }
}

export function gptOss(source: ConfigSource): ConfigValues {
  const layers = source.required("block_count")
  return {
    intermediate_size: source.required("expert_feed_forward_length"),
    hidden_act: "silu",
    attention_bias: true,
    ...experts(source, "num_local_experts"),
    sliding_window: source.required("attention.sliding_window"),
    layer_types: Array.from({ length: layers }, (_, i) => (i % 2 === 0 ? "sliding_attention" : "full_attention")),
    swiglu_limit: decimal(7),
    rope_scaling: {
      rope_type: "yarn",
      factor: source.requiredFloat("rope.scaling.factor"),
      original_max_position_embeddings: source.required("rope.scaling.original_context_length"),
      beta_fast: decimal(32),
      beta_slow: decimal(1),
      truncate: false,
    },
  }
}
