/** Experts that MLX stacked, one by one with --layout hf: the same values under the names that transformers loads. */
import { expect, test } from "bun:test"
import { join } from "node:path"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import { takeInventory } from "../../src/schemes/index.ts"
import { runPlan } from "../../src/writer/run.ts"
import { verifyOutput } from "../../src/writer/verify.ts"
import { bf16Bytes, temporaryFolder, tensor, writeCheckpointFolder } from "../support/checkpoints.ts"
import { readSafetensors } from "../support/reference.ts"
import { readTensors } from "../writer/fixture.ts"

const root = join(import.meta.dir, "..", "fixtures", "formats")

test.each([
  ["mlx-affine", "model.layers.0.mlp."],
  ["mlx-floats", "model.layers.3.mlp."],
])("%s", async (name, start) => {
  using folder = temporaryFolder()
  const source = join(root, name, "checkpoint")
  const plan = planConversion(await openCheckpoint(source), { layout: "hf" })
  await runPlan(plan, { output: folder.file("out"), verify: "full" })
  const found = readTensors(folder.file("out", "model.safetensors"))
  const stacked = readSafetensors(join(root, name, "expected.safetensors")).get(`${start}switch_mlp.up_proj.weight`)!
  const size = stacked.bytes.length / 2
  for (const expert of [0, 1]) {
    const dense = found.get(`${start}experts.${expert}.up_proj.weight`)!
    expect(dense.shape).toEqual([8, 64])
    expect(Buffer.compare(dense.bytes, stacked.bytes.subarray(expert * size, (expert + 1) * size))).toBe(0)
  }
  expect([...found.keys()].filter((key) => key.includes("switch_mlp"))).toEqual([])
  const report = await verifyOutput(folder.file("out"), { source, sample: "all" })
  expect(report.problems).toEqual([])
  expect(report.ok).toBe(true)
})

test("an expert that stays quantized has all its parts, under its own names", async () => {
  using folder = temporaryFolder()
  const checkpoint = await openCheckpoint(join(root, "mlx-affine", "checkpoint"))
  const plan = planConversion(checkpoint, { layout: "hf", exclude: ["*.experts.1.*"] })
  await runPlan(plan, { output: folder.file("out") })
  const found = readTensors(folder.file("out", "model.safetensors"))
  const start = "model.layers.0.mlp.experts."
  expect(found.get(`${start}0.up_proj.weight`)?.dtype).toBe("BF16")
  expect(found.get(`${start}1.up_proj.weight`)?.dtype).toBe("U32")
  expect(found.get(`${start}1.up_proj.scales`)?.shape).toEqual([8, 1])
  expect(found.get(`${start}1.up_proj.biases`)?.shape).toEqual([8, 1])
})

test("Mixtral's names, and biases of stacks; gpt-oss is refused", async () => {
  using folder = temporaryFolder()
  const start = "model.layers.0.block_sparse_moe.switch_mlp.down_proj."
  const codes = { name: `${start}weight`, dtype: "U32", shape: [3, 4, 8], bytes: new Uint8Array(384) }
  const bias = { name: `${start}bias`, dtype: "BF16", shape: [3, 4], bytes: bf16Bytes(12, 1) }
  const sides = ["scales", "biases"].map((side) => tensor(`${start}${side}`, "BF16", [3, 4, 1], 2))
  const config = { quantization: { bits: 4, group_size: 64 } }
  writeCheckpointFolder(folder.path, { shards: { "model.safetensors": [codes, ...sides, bias] }, config })
  const { weights, plain } = takeInventory(await openCheckpoint(folder.path), { layout: "hf" })
  const names = (part: string) => [0, 1, 2].map((i) => `model.layers.0.block_sparse_moe.experts.${i}.w2.${part}`)
  expect(weights.map((weight) => weight.name)).toEqual(names("weight"))
  expect(plain.map(({ name }) => name)).toEqual(names("bias"))
  expect(plain.map(({ shape }) => shape)).toEqual([[4], [4], [4]])

  using other = temporaryFolder()
  const named = [codes, ...sides].map((t) => ({ ...t, name: t.name.replace(/block.*switch_mlp/, "mlp.experts") }))
  writeCheckpointFolder(other.path, { shards: { "model.safetensors": named }, config })
  const gptOss = await openCheckpoint(other.path)
  expect(() => takeInventory(gptOss, { layout: "hf" })).toThrow(/is of gpt-oss: --layout hf is not available/)
  expect(takeInventory(gptOss).weights).toHaveLength(1)
})
