/**
 * Tiny models with the real names, dtypes and shape relations of published checkpoints. Nothing here is square unless
 * the real model is, so that a missing transposition shows.
 */
import { moderateScales, randomBytes, type TensorInput, tensor, writeCheckpointFolder } from "./checkpoints.ts"

export interface TinySize {
  readonly layers?: number
  readonly experts?: number
  /** Multiple of 32. */
  readonly hidden?: number
  /** Multiple of 32. */
  readonly intermediate?: number
  readonly vocabulary?: number
  /** Scales with all 256 exponents instead of ordinary ones. */
  readonly wildScales?: boolean
}

interface Size {
  readonly layers: number
  readonly experts: number
  readonly hidden: number
  readonly intermediate: number
  readonly vocabulary: number
  readonly wildScales: boolean
}

const DEFAULT_SIZE: Size = {
  layers: 2,
  experts: 3,
  hidden: 64,
  intermediate: 96,
  vocabulary: 40,
  wildScales: false,
}

const HEAD_SIZE = 16
const HEADS = 4
const KEY_HEADS = 2

function scales(count: number, seed: number, size: Size): Uint8Array {
  return size.wildScales ? randomBytes(count, seed) : moderateScales(count, seed)
}

/** Codes and scales of [experts, out, in] weights under the two names. */
function mxfp4Pair(
  names: readonly [blocks: string, scales: string],
  shape: readonly [experts: number, out: number, input: number],
  seed: number,
  size: Size,
): TensorInput[] {
  const [experts, out, input] = shape
  const groups = input / 32
  const blocks = experts * out * groups
  return [
    { name: names[0], dtype: "U8", shape: [experts, out, groups, 16], bytes: randomBytes(blocks * 16, seed) },
    { name: names[1], dtype: "U8", shape: [experts, out, groups], bytes: scales(blocks, seed + 1, size) },
  ]
}

/** One layer under the names of openai/gpt-oss-20b on the Hub. */
function gptOssLayer(layer: number, size: Size): TensorInput[] {
  const prefix = `model.layers.${layer}.`
  const { experts, hidden, intermediate } = size
  const seed = 1000 * (layer + 1)
  const query = HEADS * HEAD_SIZE
  const key = KEY_HEADS * HEAD_SIZE
  const plain: [string, number[]][] = [
    ["input_layernorm.weight", [hidden]],
    ["self_attn.q_proj.weight", [query, hidden]],
    ["self_attn.q_proj.bias", [query]],
    ["self_attn.k_proj.weight", [key, hidden]],
    ["self_attn.k_proj.bias", [key]],
    ["self_attn.v_proj.weight", [key, hidden]],
    ["self_attn.v_proj.bias", [key]],
    ["self_attn.o_proj.weight", [hidden, query]],
    ["self_attn.o_proj.bias", [hidden]],
    ["self_attn.sinks", [HEADS]],
    ["post_attention_layernorm.weight", [hidden]],
    ["mlp.router.weight", [experts, hidden]],
    ["mlp.router.bias", [experts]],
    ["mlp.experts.gate_up_proj_bias", [experts, 2 * intermediate]],
    ["mlp.experts.down_proj_bias", [experts, hidden]],
  ]
  const gateUp = `${prefix}mlp.experts.gate_up_proj`
  const down = `${prefix}mlp.experts.down_proj`
  return [
    ...plain.map(([name, shape], i) => tensor(prefix + name, "BF16", shape, seed + i)),
    ...mxfp4Pair([`${gateUp}_blocks`, `${gateUp}_scales`], [experts, 2 * intermediate, hidden], seed + 100, size),
    ...mxfp4Pair([`${down}_blocks`, `${down}_scales`], [experts, hidden, intermediate], seed + 200, size),
  ]
}

/** config.json of a gpt-oss checkpoint of the given size, as the Hub has it. */
export function gptOssConfig(tiny: TinySize = {}): Record<string, unknown> {
  const size = { ...DEFAULT_SIZE, ...tiny }
  return {
    architectures: ["GptOssForCausalLM"],
    hidden_size: size.hidden,
    intermediate_size: size.intermediate,
    num_hidden_layers: size.layers,
    num_local_experts: size.experts,
    num_experts_per_tok: 2,
    vocab_size: size.vocabulary,
    head_dim: HEAD_SIZE,
    num_attention_heads: HEADS,
    num_key_value_heads: KEY_HEADS,
    model_type: "gpt_oss",
    torch_dtype: "bfloat16",
    quantization_config: {
      modules_to_not_convert: [
        "model.layers.*.self_attn",
        "model.layers.*.mlp.router",
        "model.embed_tokens",
        "lm_head",
      ],
      quant_method: "mxfp4",
    },
  }
}

/** The tensors of a gpt-oss checkpoint with the Hub's names. */
export function gptOssTensors(tiny: TinySize = {}): TensorInput[] {
  const size = { ...DEFAULT_SIZE, ...tiny }
  return [
    tensor("model.embed_tokens.weight", "BF16", [size.vocabulary, size.hidden], 1),
    ...Array.from({ length: size.layers }, (_, layer) => gptOssLayer(layer, size)).flat(),
    tensor("model.norm.weight", "BF16", [size.hidden], 2),
    tensor("lm_head.weight", "BF16", [size.vocabulary, size.hidden], 3),
  ]
}

/** Writes a folder like openai/gpt-oss-20b: shards counted from 0, index, config and side files. */
export function writeGptOssFolder(folder: string, tiny: TinySize = {}, shardCount = 3): void {
  const tensors = gptOssTensors(tiny)
  const perShard = Math.ceil(tensors.length / shardCount)
  const shards: Record<string, TensorInput[]> = {}
  for (let shard = 0; shard < shardCount; shard += 1) {
    const name = `model-${String(shard).padStart(5, "0")}-of-${String(shardCount - 1).padStart(5, "0")}.safetensors`
    shards[name] = tensors.slice(shard * perShard, (shard + 1) * perShard)
  }
  writeCheckpointFolder(folder, {
    shards,
    index: {},
    config: gptOssConfig(tiny),
    files: {
      "generation_config.json": '{"eos_token_id": [200002, 199999]}\n',
      "tokenizer.json": '{"version": "1.0"}\n',
      "chat_template.jinja": "{{ messages }}\n",
    },
  })
}

/** The tensors of a gpt-oss checkpoint under the names of its `original/` folder. */
export function gptOssOriginalTensors(tiny: TinySize = {}): TensorInput[] {
  const size = { ...DEFAULT_SIZE, ...tiny }
  const { experts, hidden, intermediate } = size
  const query = HEADS * HEAD_SIZE
  const layers = Array.from({ length: size.layers }, (_, layer) => {
    const prefix = `block.${layer}.`
    const seed = 5000 * (layer + 1)
    const plain: [string, number[]][] = [
      ["attn.norm.scale", [hidden]],
      ["attn.qkv.weight", [query + 2 * KEY_HEADS * HEAD_SIZE, hidden]],
      ["attn.qkv.bias", [query + 2 * KEY_HEADS * HEAD_SIZE]],
      ["attn.sinks", [HEADS]],
      ["attn.out.weight", [hidden, query]],
      ["attn.out.bias", [hidden]],
      ["mlp.norm.scale", [hidden]],
      ["mlp.gate.weight", [experts, hidden]],
      ["mlp.gate.bias", [experts]],
      ["mlp.mlp1_bias", [experts, 2 * intermediate]],
      ["mlp.mlp2_bias", [experts, hidden]],
    ]
    const up = `${prefix}mlp.mlp1_weight`
    const down = `${prefix}mlp.mlp2_weight`
    return [
      ...plain.map(([name, shape], i) => tensor(prefix + name, "BF16", shape, seed + i)),
      ...mxfp4Pair([`${up}.blocks`, `${up}.scales`], [experts, 2 * intermediate, hidden], seed + 100, size),
      ...mxfp4Pair([`${down}.blocks`, `${down}.scales`], [experts, hidden, intermediate], seed + 200, size),
    ]
  })
  return [
    tensor("embedding.weight", "BF16", [size.vocabulary, hidden], 11),
    ...layers.flat(),
    tensor("norm.scale", "BF16", [hidden], 12),
    tensor("unembedding.weight", "BF16", [size.vocabulary, hidden], 13),
  ]
}

const LINEAR_NAMES = ["self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"] as const

/** A llama-like model quantized by compressed-tensors as `mxfp4-pack-quantized`: weight_packed and weight_scale. */
export function compressedTensorsTensors(tiny: TinySize = {}): TensorInput[] {
  const size = { ...DEFAULT_SIZE, ...tiny }
  const layers = Array.from({ length: size.layers }, (_, layer) =>
    LINEAR_NAMES.flatMap((name, i) => {
      const prefix = `model.layers.${layer}.${name}`
      const input = name === "mlp.down_proj" ? size.intermediate : size.hidden
      const out = name === "mlp.gate_proj" ? size.intermediate : size.hidden
      const seed = 300 * (layer + 1) + 10 * i
      return [
        tensor(`${prefix}.weight_packed`, "U8", [out, input / 2], seed),
        {
          name: `${prefix}.weight_scale`,
          dtype: "U8",
          shape: [out, input / 32],
          bytes: scales((out * input) / 32, seed + 1, size),
        },
      ]
    }),
  )
  return [
    tensor("model.embed_tokens.weight", "BF16", [size.vocabulary, size.hidden], 21),
    ...layers.flat(),
    tensor("model.norm.weight", "BF16", [size.hidden], 22),
    tensor("lm_head.weight", "BF16", [size.vocabulary, size.hidden], 23),
  ]
}

export function compressedTensorsConfig(): Record<string, unknown> {
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    dtype: "bfloat16",
    quantization_config: {
      config_groups: {
        group_0: {
          format: "mxfp4-pack-quantized",
          targets: ["Linear"],
          weights: {
            group_size: 32,
            num_bits: 4,
            scale_dtype: "torch.uint8",
            strategy: "group",
            symmetric: true,
            type: "float",
          },
        },
      },
      format: "mxfp4-pack-quantized",
      ignore: ["lm_head"],
      quant_method: "compressed-tensors",
      quantization_status: "compressed",
    },
  }
}

export function writeCompressedTensorsFolder(folder: string, tiny: TinySize = {}): void {
  writeCheckpointFolder(folder, {
    shards: { "model.safetensors": compressedTensorsTensors(tiny) },
    config: compressedTensorsConfig(),
    files: { "recipe.yaml": "quant_stage: {}\n" },
  })
}

/** A dense model with several dtypes, as embedding models have them. */
export function denseTensors(): TensorInput[] {
  return [
    tensor("embeddings.word_embeddings.weight", "F32", [40, 24], 31),
    tensor("embeddings.position_ids", "I64", [1, 16], 32),
    tensor("encoder.layer.0.attention.self.query.weight", "F16", [24, 24], 33),
    tensor("encoder.layer.0.attention.self.query.bias", "BF16", [24], 34),
    tensor("encoder.layer.0.mask", "BOOL", [7], 35),
    tensor("encoder.layer.0.double", "F64", [3], 36),
    tensor("encoder.scalar", "F32", [], 37),
    tensor("encoder.empty", "F32", [0, 24], 38),
  ]
}
