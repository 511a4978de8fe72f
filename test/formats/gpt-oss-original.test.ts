/** gpt-oss under the names of `original/`, converted with --layout hf: every byte where transformers looks for it. */
import { describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import type { PlanOptions } from "../../src/plan/plan.ts"
import { takeInventory } from "../../src/schemes/index.ts"
import { runPlan } from "../../src/writer/run.ts"
import { verifyOutput } from "../../src/writer/verify.ts"
import {
  type TemporaryFolder,
  type TensorInput,
  temporaryFolder,
  writeCheckpointFolder,
} from "../support/checkpoints.ts"
import { gptOssOriginalTensors } from "../support/models.ts"
import { bitsOf, decodeMxfp4, transpose } from "../support/reference.ts"

const tiny = { layers: 2, experts: 2, hidden: 64, intermediate: 32 }

/** config.json of openai/gpt-oss-20b's `original/`, with the sizes of the tiny model. */
const config = {
  num_hidden_layers: 2,
  num_experts: 2,
  experts_per_token: 2,
  vocab_size: 40,
  hidden_size: 64,
  intermediate_size: 32,
  swiglu_limit: 7.0,
  head_dim: 16,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  sliding_window: 128,
  initial_context_length: 4096,
  rope_theta: 150000,
  rope_scaling_factor: 32,
  rope_ntk_alpha: 1,
  rope_ntk_beta: 32,
}

function writeOriginal(
  folder: TemporaryFolder,
  change: (tensors: TensorInput[]) => TensorInput[] = (all) => all,
): string {
  const path = folder.file("original")
  const tensors = change(gptOssOriginalTensors(tiny))
  writeCheckpointFolder(path, { shards: { "model.safetensors": tensors }, config, files: { "dtypes.json": "{}\n" } })
  return path
}

async function bytesIn(path: string): Promise<Map<string, Buffer>> {
  const { tensors } = await openCheckpoint(path)
  return new Map(
    [...tensors.values()].map(({ name, file, offset, size }) => [
      name,
      readFileSync(file.path).subarray(offset, offset + size),
    ]),
  )
}

async function convert(folder: TemporaryFolder, options: Partial<PlanOptions> = {}) {
  const input = writeOriginal(folder)
  const output = folder.file("hub")
  await runPlan(planConversion(await openCheckpoint(input), { layout: "hf", ...options }), { output, verify: "full" })
  return { input, output }
}

const stored = new Map(gptOssOriginalTensors(tiny).map((tensor) => [tensor.name, Buffer.from(tensor.bytes)]))

test("queries, keys and values are the rows of one tensor, one after the other", async () => {
  using folder = temporaryFolder()
  const { output } = await convert(folder)
  const found = await bytesIn(output)
  for (const layer of [0, 1]) {
    for (const suffix of ["weight", "bias"]) {
      const parts = ["q", "k", "v"].map((part) => found.get(`model.layers.${layer}.self_attn.${part}_proj.${suffix}`)!)
      const whole = stored.get(`block.${layer}.attn.qkv.${suffix}`)!
      // 4 heads of 16 rows, then 2 and 2.
      expect(parts.map((part) => part.length / whole.length)).toEqual([0.5, 0.25, 0.25])
      expect(Buffer.concat(parts).equals(whole)).toBe(true)
    }
  }
})

test("experts are transposed, all else has its bytes under another name", async () => {
  using folder = temporaryFolder()
  const { input, output } = await convert(folder, { to: "F32" })
  const found = await bytesIn(output)
  const codes = stored.get("block.1.mlp.mlp2_weight.blocks")!
  const scales = stored.get("block.1.mlp.mlp2_weight.scales")!
  const values = transpose(decodeMxfp4(codes, scales), 64, 32)
  const words = Uint32Array.from(values, (value) => bitsOf(value, "F32")!)
  expect(found.get("model.layers.1.mlp.experts.down_proj")!.equals(Buffer.from(words.buffer))).toBe(true)
  for (const [from, to] of [
    ["embedding.weight", "model.embed_tokens.weight"],
    ["unembedding.weight", "lm_head.weight"],
    ["norm.scale", "model.norm.weight"],
    ["block.1.attn.norm.scale", "model.layers.1.input_layernorm.weight"],
    ["block.1.attn.sinks", "model.layers.1.self_attn.sinks"],
    ["block.1.attn.out.bias", "model.layers.1.self_attn.o_proj.bias"],
    ["block.1.mlp.norm.scale", "model.layers.1.post_attention_layernorm.weight"],
    ["block.1.mlp.gate.weight", "model.layers.1.mlp.router.weight"],
    ["block.1.mlp.mlp1_bias", "model.layers.1.mlp.experts.gate_up_proj_bias"],
    ["block.1.mlp.mlp2_bias", "model.layers.1.mlp.experts.down_proj_bias"],
  ] as const) {
    expect(found.get(to)!.equals(stored.get(from)!)).toBe(true)
  }
  expect(await verifyOutput(output, { source: input, sample: "all" })).toMatchObject({ ok: true, problems: [] })
})

test("config.json is that of transformers", async () => {
  using folder = temporaryFolder()
  const { output } = await convert(folder)
  expect(readFileSync(join(output, "config.json"), "utf8")).toMatchSnapshot()
})

test("weights that stay quantized are called as on the Hub", async () => {
  using folder = temporaryFolder()
  const { output } = await convert(folder, { exclude: ["*.down_proj"] })
  const found = await bytesIn(output)
  const down = "model.layers.0.mlp.experts.down_proj"
  expect(found.get(`${down}_blocks`)!.equals(stored.get("block.0.mlp.mlp2_weight.blocks")!)).toBe(true)
  expect(found.get(`${down}_scales`)!.equals(stored.get("block.0.mlp.mlp2_weight.scales")!)).toBe(true)
})

describe("faults", () => {
  const without = (name: string) => (tensors: TensorInput[]) => tensors.filter((tensor) => tensor.name !== name)
  const renamed = (from: string, to: string) => (tensors: TensorInput[]) =>
    tensors.map((tensor) => (tensor.name === from ? { ...tensor, name: to } : tensor))

  test.each([
    ["no output projection", /rows are not queries, keys and values/, without("block.0.attn.out.weight")],
    [
      "a tensor of another model",
      /"block.0.attn.rope": has no known place in gpt-oss/,
      renamed("block.0.attn.sinks", "block.0.attn.rope"),
    ],
  ] as const)("%s", async (_name, says, change) => {
    using folder = temporaryFolder()
    const checkpoint = await openCheckpoint(writeOriginal(folder, change))
    expect(() => takeInventory(checkpoint, { layout: "hf" })).toThrow(says)
    expect(() => takeInventory(checkpoint)).not.toThrow()
  })
})
