/** Experts that MLX stacked, one by one with --layout hf: the same values under the names that transformers loads. */
import { expect, test } from "bun:test"
import { join } from "node:path"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import { takeInventory } from "../../src/schemes/index.ts"
import { runPlan } from "../../src/writer/run.ts"
import { verifyOutput } from "../../src/writer/verify.ts"
import {
  bf16Bytes,
  moderateScales,
  randomBytes,
  type TensorInput,
  temporaryFolder,
  tensor,
  writeCheckpointFolder,
} from "../support/checkpoints.ts"
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

test("Mixtral's names, and biases of stacks", async () => {
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
})

/** gpt-oss's experts as mlx-lm has them: two of them, 4 rows of gate and of up, 64 columns. */
function gptOssExperts(): TensorInput[] {
  const part = (name: string, seed: number): TensorInput[] => [
    { name: `${EXPERTS}${name}.weight`, dtype: "U32", shape: [2, 4, 8], bytes: randomBytes(256, seed) },
    { name: `${EXPERTS}${name}.scales`, dtype: "U8", shape: [2, 4, 2], bytes: moderateScales(16, seed) },
    { name: `${EXPERTS}${name}.bias`, dtype: "BF16", shape: [2, 4], bytes: bf16Bytes(8, seed) },
  ]
  return [...part("gate_proj", 1), ...part("up_proj", 2), ...part("down_proj", 3)]
}

const EXPERTS = "model.layers.0.mlp.experts."

async function convertGptOss(layout: "auto" | "hf") {
  using folder = temporaryFolder()
  const config = { quantization: { bits: 4, group_size: 32, mode: "mxfp4" } }
  writeCheckpointFolder(folder.file("in"), { shards: { "model.safetensors": gptOssExperts() }, config })
  const plan = planConversion(await openCheckpoint(folder.file("in")), { layout })
  await runPlan(plan, { output: folder.file("out"), verify: "full" })
  return readTensors(folder.file("out", "model.safetensors"))
}

test("gpt-oss: gate and up are one tensor again, whose rows take turns, and all are transposed", async () => {
  const stored = await convertGptOss("auto")
  const found = await convertGptOss("hf")
  const names = ["down_proj", "down_proj_bias", "gate_up_proj", "gate_up_proj_bias"]
  expect([...found.keys()].sort()).toEqual(names.map((name) => EXPERTS + name))
  const words = (name: string, from = found) => {
    const { bytes } = from.get(EXPERTS + name)!
    return new Uint16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
  }
  const [gate, up, down] = ["gate_proj", "up_proj", "down_proj"].map((name) => words(`${name}.weight`, stored))
  expect(found.get(`${EXPERTS}gate_up_proj`)?.shape).toEqual([2, 64, 8])
  const gateUp = words("gate_up_proj").map((_, i) => {
    const [expert, column, row] = [Math.floor(i / 512), Math.floor(i / 8) % 64, i % 8]
    return (row % 2 === 0 ? gate! : up!)[expert * 256 + Math.floor(row / 2) * 64 + column]!
  })
  expect(words("gate_up_proj")).toEqual(gateUp)
  expect(found.get(`${EXPERTS}down_proj`)?.shape).toEqual([2, 64, 4])
  expect(words("down_proj")).toEqual(
    words("down_proj").map((_, i) => down![Math.floor(i / 256) * 256 + (i % 4) * 64 + (Math.floor(i / 4) % 64)]!),
  )
  const biases = ["gate_proj", "up_proj"].map((name) => words(`${name}.bias`, stored))
  expect(found.get(`${EXPERTS}gate_up_proj_bias`)?.shape).toEqual([2, 8])
  expect(words("gate_up_proj_bias")).toEqual(words("gate_up_proj_bias").map((_, i) => biases[i % 2]![i >> 1]!))
  expect(words("down_proj_bias")).toEqual(words("down_proj.bias", stored))
})

test("gpt-oss without one of gate and up", async () => {
  using folder = temporaryFolder()
  const tensors = gptOssExperts().filter(({ name }) => !name.includes("up_proj"))
  const config = { quantization: { bits: 4, group_size: 32, mode: "mxfp4" } }
  writeCheckpointFolder(folder.path, { shards: { "model.safetensors": tensors }, config })
  const checkpoint = await openCheckpoint(folder.path)
  expect(() => takeInventory(checkpoint, { layout: "hf" })).toThrow(/is one of 2 parts of .*gate_up_proj/)
})
