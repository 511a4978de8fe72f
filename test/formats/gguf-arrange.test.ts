/** GGUF models that the form of transformers does not fit, and what is said about them. */
import { describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { MalformedError, UnsupportedError } from "../../src/errors.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import type { PlanOptions } from "../../src/plan/plan.ts"
import { takeInventory } from "../../src/schemes/index.ts"
import { temporaryFolder } from "../support/checkpoints.ts"
import {
  type Bytes,
  entry,
  f32,
  type GgufTensor,
  ggufBytes,
  stringEntry,
  u32,
  u32Entry,
  VALUE,
} from "../support/gguf-file.ts"

const F32 = 0
const Q8_0 = 8
const MXFP4 = 39
const NVFP4 = 40
const BYTES: Readonly<Record<number, (count: number) => number>> = {
  [F32]: (count) => count * 4,
  [Q8_0]: (count) => (count / 32) * 34,
  [MXFP4]: (count) => (count / 32) * 17,
  [NVFP4]: (count) => (count / 64) * 36,
}

/** A tensor of zeros; `shape` as in transformers, rows first. */
function tensor(name: string, type: number, ...shape: number[]): GgufTensor {
  const count = shape.reduce((product, size) => product * size, 1)
  return { name, type, dimensions: shape.toReversed(), bytes: new Uint8Array(BYTES[type]!(count)) }
}

async function openModel(architecture: string, tensors: readonly GgufTensor[], more: readonly Bytes[] = []) {
  using folder = temporaryFolder()
  const entries = [stringEntry("general.architecture", architecture), ...more]
  writeFileSync(folder.file("m.gguf"), ggufBytes({ entries, tensors }))
  return await openCheckpoint(folder.file("m.gguf"))
}

const heads = (architecture: string, count: number) => u32Entry(`${architecture}.attention.head_count`, count)

describe("faults", () => {
  const cases: [string, RegExp, typeof MalformedError | typeof UnsupportedError, Parameters<typeof openModel>][] = [
    [
      "a tensor that the model does not have",
      /tensor "blk.0.attn_sub_norm.weight": has no known place in Llama/,
      UnsupportedError,
      ["llama", [tensor("blk.0.attn_sub_norm.weight", F32, 8)]],
    ],
    [
      "queries without a number of heads",
      /rows are not whole heads \(expected unknown heads/,
      MalformedError,
      ["llama", [tensor("blk.0.attn_q.weight", Q8_0, 8, 32)]],
    ],
    [
      "rows that are no whole heads",
      /rows are not whole heads \(expected 3 heads of an even size, found \[8, 32\]\)/,
      MalformedError,
      ["llama", [tensor("blk.0.attn_q.weight", Q8_0, 8, 32)], [heads("llama", 3)]],
    ],
    [
      "quantized norms",
      /tensor "blk.0.attn_norm.weight": has a dtype that it cannot have \(expected F32, F16 or BF16, found Q8_0\)/,
      MalformedError,
      ["gemma2", [tensor("blk.0.attn_norm.weight", Q8_0, 32)]],
    ],
    [
      "gate without up",
      /is one of 2 parts of "model.layers.0.mlp.experts.gate_up_proj" \(expected 2 tensors, found 1\)/,
      MalformedError,
      ["gpt-oss", [tensor("blk.0.ffn_gate_exps.weight", MXFP4, 2, 4, 32)]],
    ],
    [
      "gate and up of other shapes",
      /tensor "blk.0.ffn_up_exps.weight": does not fit "blk.0.ffn_gate_exps.weight" \(expected \[2, 4, 32\]/,
      MalformedError,
      [
        "gpt-oss",
        [tensor("blk.0.ffn_gate_exps.weight", MXFP4, 2, 4, 32), tensor("blk.0.ffn_up_exps.weight", MXFP4, 2, 6, 32)],
      ],
    ],
    [
      "gate and up of other types",
      /has another type than "blk.0.ffn_gate_exps.weight", with which it is one tensor in transformers/,
      UnsupportedError,
      [
        "gpt-oss",
        [tensor("blk.0.ffn_gate_exps.weight", MXFP4, 2, 4, 32), tensor("blk.0.ffn_up_exps.weight", Q8_0, 2, 4, 32)],
      ],
    ],
    [
      "experts that are one matrix",
      /is not a stack of experts/,
      MalformedError,
      ["qwen3moe", [tensor("blk.0.ffn_up_exps.weight", F32, 8)]],
    ],
    [
      "a scale that no other type has",
      /has a scale of its own \("blk.0.ffn_up.scale"\), which is supported for NVFP4 only/,
      UnsupportedError,
      ["llama", [tensor("blk.0.ffn_up.weight", Q8_0, 4, 32), tensor("blk.0.ffn_up.scale", F32, 1)]],
    ],
    [
      "a scale for each row",
      /tensor "blk.0.ffn_up.scale": scale has the wrong form \(expected F32 with 1 or 1 values, found F32 \[4\]\)/,
      MalformedError,
      ["llama", [tensor("blk.0.ffn_up.weight", NVFP4, 4, 64), tensor("blk.0.ffn_up.scale", F32, 4)]],
    ],
  ]
  test.each(cases)("%s", async (_name, says, kind, model) => {
    const checkpoint = await openModel(...model)
    const plan = () => planConversion(checkpoint, { layout: "hf" })
    expect(plan).toThrow(says)
    expect(plan).toThrow(kind)
  })

  test("two parts of one name", async () => {
    // Two spellings of a layer's number.
    const checkpoint = await openModel("llama", [
      tensor("blk.0.ffn_up.weight", Q8_0, 4, 32),
      tensor("blk.00.ffn_up.weight", Q8_0, 4, 32),
    ])
    expect(() => takeInventory(checkpoint)).toThrow(
      /gives the dense name "model.layers.0.mlp.up_proj.weight", which is taken/,
    )
  })
})

describe("NVFP4", () => {
  const scales = [tensor("blk.0.ffn_up_exps.scale", F32, 3), tensor("blk.0.ffn_up_exps.input_scale", F32, 3)]
  const model = [tensor("blk.0.ffn_up_exps.weight", NVFP4, 3, 4, 64), ...scales]

  test("each expert has its scale, and what is of use to kernels alone is left out", async () => {
    const checkpoint = await openModel("qwen3moe", model)
    const { weights, plain, dropped } = takeInventory(checkpoint)
    const scale = checkpoint.tensors.get("blk.0.ffn_up_exps.scale")!
    expect(weights.map(({ name }) => name)).toEqual(
      [0, 1, 2].map((expert) => `model.layers.0.mlp.experts.${expert}.up_proj.weight`),
    )
    expect(weights.map(({ sources }) => sources[1]!.tensor.offset - scale.offset)).toEqual([0, 4, 8])
    expect(weights.map(({ parameters }) => parameters)).toEqual([[1], [1], [1]])
    expect(plain).toEqual([])
    expect(dropped.map(({ name }) => name)).toEqual(["blk.0.ffn_up_exps.input_scale"])
  })

  test("stacked as stored they keep a scale each", async () => {
    const { weights } = takeInventory(await openModel("other", model))
    expect(weights).toMatchObject([{ batch: 3, sources: [{ batchBytes: 4 * 36 }, { batchBytes: 4, rowsPerLine: 0 }] }])
  })
})

test("experts that are a tensor each, as files of 2023 have them", async () => {
  const experts = [0, 1].map((expert) => tensor(`blk.3.ffn_down.${expert}.weight`, Q8_0, 4, 32))
  const { weights } = takeInventory(await openModel("llama", experts, [u32Entry("llama.expert_count", 2)]))
  expect(weights.map(({ name }) => name)).toEqual(
    [0, 1].map((expert) => `model.layers.3.block_sparse_moe.experts.${expert}.w2.weight`),
  )
})

describe("models that are not known", () => {
  const tensors = [tensor("blk.0.ffn_up.weight", Q8_0, 4, 32)]

  test("stay as they are, with a note and without a config", async () => {
    const plan = planConversion(await openModel("mamba", tensors))
    expect(plan.inventory.notes).toEqual([expect.stringMatching(/the GGUF architecture "mamba" has no known form/)])
    expect(plan.config).toBeUndefined()
    expect(plan.shards[0]!.tensors.map(({ name }) => name)).toEqual(["blk.0.ffn_up.weight"])
  })

  test("cannot be given another layout", async () => {
    const checkpoint = await openModel("mamba", tensors)
    expect(() => planConversion(checkpoint, { layout: "hf" })).toThrow(UnsupportedError)
  })
})

describe("config.json", () => {
  const number = (key: string, value: number) => u32Entry(`llama.${key}`, value)
  const all = [
    number("block_count", 1),
    number("context_length", 64),
    number("embedding_length", 32),
    number("feed_forward_length", 64),
    number("attention.head_count", 4),
    entry("llama.attention.layer_norm_rms_epsilon", VALUE.float32, f32(1e-5)),
  ]
  const embedding = tensor("token_embd.weight", Q8_0, 7, 32)
  const plan = async (
    more: readonly Bytes[],
    tensors: readonly GgufTensor[] = [embedding],
    options: Partial<PlanOptions> = {},
  ) => planConversion(await openModel("llama", tensors, more), options)

  test("numbers as they were written, and what the tensors say", async () => {
    const config = JSON.parse((await plan(all)).config ?? "")
    expect(config).toMatchObject({
      rms_norm_eps: 1e-5,
      vocab_size: 7,
      tie_word_embeddings: true,
      num_key_value_heads: 4,
    })
    expect(config.torch_dtype).toBe("bfloat16")
  })

  test("is not written where a number is missing", async () => {
    const { config, inventory } = await plan(all.slice(1))
    expect(config).toBeUndefined()
    expect(inventory.notes).toEqual(["no config.json is written: the metadata has no llama.block_count"])
  })

  test("is not written where layers differ", async () => {
    const wide = entry(
      "llama.feed_forward_length",
      VALUE.array,
      new Uint8Array([...u32(4), 2, 0, 0, 0, 0, 0, 0, 0, ...u32(64), ...u32(96)]),
    )
    const { inventory } = await plan([...all.slice(0, 3), ...all.slice(4), wide])
    expect(inventory.notes).toEqual([
      "no config.json is written: the metadata has llama.feed_forward_length differs by layer",
    ])
  })

  test("scaled rotary frequencies are told, and their tensor is left out", async () => {
    const { config, inventory } = await plan(all, [embedding, tensor("rope_freqs.weight", F32, 4)])
    expect(inventory.notes).toEqual([expect.stringMatching(/set rope_scaling in config.json/)])
    expect(inventory.dropped.map(({ name }) => name)).toEqual(["rope_freqs.weight"])
    expect(JSON.parse(config ?? "").rope_scaling).toBeUndefined()
  })

  test("scaling that the metadata has", async () => {
    const scaling = [
      stringEntry("llama.rope.scaling.type", "yarn"),
      entry("llama.rope.scaling.factor", VALUE.float32, f32(4)),
      u32Entry("llama.rope.scaling.original_context_length", 32),
    ]
    const { config } = await plan([...all, ...scaling])
    expect(JSON.parse(config ?? "").rope_scaling).toEqual({
      rope_type: "yarn",
      factor: 4,
      original_max_position_embeddings: 32,
    })
  })
})
