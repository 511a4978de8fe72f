/** The inventory: which weights are found, with which geometry, and what stays plain, is dropped, or disagrees. */
import { describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import type { StoredTensor } from "../../src/containers/container.ts"
import { denseWeight } from "../../src/schemes/dense.ts"
import { takeInventory } from "../../src/schemes/index.ts"
import type { Inventory, Weight } from "../../src/schemes/scheme.ts"
import { type Entry, fileOf } from "../support/broken-weights.ts"
import { type TensorInput, temporaryFolder, writeCheckpointFolder } from "../support/checkpoints.ts"
import {
  compressedTensorsConfig,
  compressedTensorsTensors,
  denseTensors,
  gptOssOriginalTensors,
  gptOssTensors,
  writeCompressedTensorsFolder,
  writeGptOssFolder,
} from "../support/models.ts"

async function inventoryOf(shards: Record<string, readonly TensorInput[]>, config?: unknown): Promise<Inventory> {
  using folder = temporaryFolder()
  writeCheckpointFolder(folder.path, config === undefined ? { shards } : { shards, config })
  return takeInventory(await openCheckpoint(folder.path))
}

async function inventoryOfFile(...entries: readonly Entry[]): Promise<Inventory> {
  using folder = temporaryFolder()
  const path = folder.file("model.safetensors")
  writeFileSync(path, fileOf(...entries))
  return takeInventory(await openCheckpoint(path))
}

/** The geometry, without the tensors themselves. */
function geometry({ sources, ...weight }: Weight) {
  return { ...weight, sources: sources.map(({ tensor, ...source }) => ({ ...source, tensor: tensor.name })) }
}

/** Sources must lie inside their tensors exactly: the last line of the last item ends where the tensor does. */
function expectExact({ sources, batch, rows, columns, shape }: Weight): void {
  expect(shape.reduce((product, size) => product * size, 1)).toBe(batch * rows * columns)
  for (const { tensor, lineBytes, batchBytes, rowsPerLine, unitColumns, unitBytes } of sources) {
    expect(lineBytes).toBe((columns / unitColumns) * unitBytes)
    expect(batchBytes).toBe((rows / rowsPerLine) * lineBytes)
    expect(batch * batchBytes).toBe(tensor.size)
  }
}

describe("MXFP4 of gpt-oss", () => {
  test("HF names: transposed, name without suffix", async () => {
    using folder = temporaryFolder()
    writeGptOssFolder(folder.path)
    const { weights, plain, dropped, disagreements } = takeInventory(await openCheckpoint(folder.path))
    expect(geometry(weights[0]!)).toEqual({
      name: "model.layers.0.mlp.experts.gate_up_proj",
      scheme: "mxfp4-gpt-oss",
      codec: "mxfp4",
      batch: 3,
      rows: 192,
      columns: 64,
      rowAlign: 1,
      columnAlign: 32,
      parameters: [0],
      shape: [3, 192, 64],
      orientation: "transposed",
      sources: [
        {
          role: "codes",
          tensor: "model.layers.0.mlp.experts.gate_up_proj_blocks",
          rowsPerLine: 1,
          lineBytes: 32,
          batchBytes: 192 * 32,
          unitColumns: 32,
          unitBytes: 16,
        },
        {
          role: "scales",
          tensor: "model.layers.0.mlp.experts.gate_up_proj_scales",
          rowsPerLine: 1,
          lineBytes: 2,
          batchBytes: 192 * 2,
          unitColumns: 32,
          unitBytes: 1,
        },
      ],
    })
    expect(weights).toHaveLength(4)
    for (const weight of weights) expectExact(weight)
    const quantized = /_(blocks|scales)$/
    expect(plain.map(({ name }) => name)).toEqual(
      gptOssTensors()
        .map(({ name }) => name)
        .filter((name) => !quantized.test(name)),
    )
    expect({ dropped, disagreements }).toEqual({ dropped: [], disagreements: [] })
  })

  test("original names: as stored", async () => {
    const { weights, disagreements } = await inventoryOf({ "model.safetensors": gptOssOriginalTensors() })
    expect(weights.map(({ name, orientation }) => [name, orientation])).toEqual(
      [0, 1].flatMap((layer) => [1, 2].map((i) => [`block.${layer}.mlp.mlp${i}_weight`, "as-stored"])),
    )
    expect(disagreements).toEqual([])
  })

  test("any prefix, any number of leading dimensions, E8M0 under its own dtype", async () => {
    const { weights } = await inventoryOfFile(
      ["x.blocks", "U8", [5, 2, 16]],
      ["x.scales", "F8_E8M0", [5, 2]],
      ["deep_blocks", "U8", [2, 3, 4, 1, 16]],
      ["deep_scales", "U8", [2, 3, 4, 1]],
    )
    expect(weights.map(({ name, batch, rows, columns, shape }) => ({ name, batch, rows, columns, shape }))).toEqual([
      { name: "x", batch: 1, rows: 5, columns: 64, shape: [5, 64] },
      { name: "deep", batch: 6, rows: 4, columns: 32, shape: [2, 3, 4, 32] },
    ])
    for (const weight of weights) expectExact(weight)
  })

  test("partners in different shards, in either order", async () => {
    const tensors = gptOssTensors({ layers: 1 })
    const shards = {
      "a.safetensors": tensors.filter(({ name }) => name.endsWith("_scales")),
      "b.safetensors": tensors.filter(({ name }) => !name.endsWith("_scales")),
    }
    const { weights } = await inventoryOf(shards)
    expect(weights).toHaveLength(2)
    for (const weight of weights) {
      expect(weight.sources.map(({ tensor }) => tensor.file.name)).toEqual(["b.safetensors", "a.safetensors"])
    }
  })

  test("dense tensors with such names stay dense", async () => {
    const { weights, plain } = await inventoryOfFile(
      ["m.blocks", "F32", [2, 3, 16]],
      ["m.scales", "F32", [2, 3]],
      ["n_blocks", "I64", [4]],
    )
    expect(weights).toEqual([])
    expect(plain).toHaveLength(3)
  })
})

describe("MXFP4 of compressed-tensors", () => {
  test("declared", async () => {
    using folder = temporaryFolder()
    writeCompressedTensorsFolder(folder.path)
    const { weights, plain, disagreements } = takeInventory(await openCheckpoint(folder.path))
    expect(weights).toHaveLength(8)
    expect(geometry(weights[0]!)).toMatchObject({
      name: "model.layers.0.self_attn.q_proj.weight",
      scheme: "mxfp4-compressed-tensors",
      batch: 1,
      rows: 64,
      columns: 64,
      shape: [64, 64],
      orientation: "as-stored",
    })
    for (const weight of weights) expectExact(weight)
    expect(plain).toHaveLength(3)
    expect(disagreements).toEqual([])
  })

  test("undeclared, by shapes and names; experts with a leading dimension", async () => {
    const { weights } = await inventoryOfFile(
      ["m.experts.w1.weight_packed", "U8", [4, 8, 32]],
      ["m.experts.w1.weight_scale", "F8_E8M0", [4, 8, 2]],
    )
    expect(weights.map(geometry)).toMatchObject([{ name: "m.experts.w1.weight", batch: 4, rows: 8, columns: 64 }])
    for (const weight of weights) expectExact(weight)
  })

  test("a mixed checkpoint names its formats by group", async () => {
    const config = compressedTensorsConfig()
    Object.assign(config.quantization_config as object, { format: "mixed-precision" })
    const { weights, disagreements } = await inventoryOf({ "model.safetensors": compressedTensorsTensors() }, config)
    expect(weights).toHaveLength(8)
    expect(disagreements).toEqual([])
  })

  test("tensors of the run time are dropped, short ones only", async () => {
    const { plain, dropped } = await inventoryOfFile(
      ["m.q.weight_packed", "U8", [8, 32]],
      ["m.q.weight_scale", "U8", [8, 2]],
      ["m.q.input_scale", "F32", [1]],
      ["m.k_scale", "F32", []],
      ["m.other.k_scale", "F32", [8, 8]],
      ["norm.weight", "BF16", [8]],
    )
    expect(dropped.map(({ name }) => name)).toEqual(["m.q.input_scale", "m.k_scale"])
    expect(plain.map(({ name }) => name)).toEqual(["m.other.k_scale", "norm.weight"])
  })
})

describe("dense checkpoints", () => {
  test("every tensor is plain, and a scale is a tensor like any other", async () => {
    const { weights, plain, dropped } = await inventoryOf({ "model.safetensors": denseTensors() })
    expect(weights).toEqual([])
    expect(plain).toHaveLength(denseTensors().length)
    expect(dropped).toEqual([])
    const scales = await inventoryOfFile(["a.input_scale", "F32", [1]], ["a.scale", "F32", [4]])
    expect(scales.plain).toHaveLength(2)
  })

  test("a method that is declared, but not there, is a disagreement", async () => {
    const { plain, disagreements } = await inventoryOf(
      { "model.safetensors": denseTensors() },
      {
        quantization_config: { quant_method: "gptq", bits: 4, group_size: 128 },
      },
    )
    expect(plain).toHaveLength(denseTensors().length)
    expect(disagreements).toEqual(['config.json: quantization_config declares "gptq"; every tensor is dense'])
  })

  test("as weights: one matrix, exact in size", () => {
    const tensor = (dtype: StoredTensor["dtype"], shape: number[], size: number): StoredTensor => ({
      name: "t",
      dtype,
      shape,
      offset: 8,
      size,
      file: { path: "x", name: "x", size: 8 + size, device: 0n, inode: 0n, mtimeNs: 0n },
    })
    const matrix = denseWeight(tensor("BF16", [2, 3, 5], 60))!
    expect(geometry(matrix)).toMatchObject({ codec: "bf16", batch: 1, rows: 6, columns: 5, shape: [2, 3, 5] })
    expect(geometry(denseWeight(tensor("F32", [], 4))!)).toMatchObject({ codec: "f32", rows: 1, columns: 1, shape: [] })
    expect(geometry(denseWeight(tensor("F16", [7], 14))!)).toMatchObject({ codec: "f16", rows: 1, columns: 7 })
    expect(matrix.rows * matrix.sources[0]!.lineBytes).toBe(60)
    expect(denseWeight(tensor("I64", [2], 16))).toBeUndefined()
    expect(denseWeight(tensor("F32", [0, 3], 0))).toBeUndefined()
  })
})

describe("disagreements", () => {
  test("another method than the tensors show", async () => {
    const config = { quantization_config: { quant_method: "fp8" } }
    const { disagreements, weights } = await inventoryOf({ "model.safetensors": gptOssTensors({ layers: 1 }) }, config)
    expect(weights).toHaveLength(2)
    expect(disagreements).toEqual(['config.json: quantization_config declares "fp8"; the tensors are MXFP4 (gpt-oss)'])
  })

  test("a config of transformers that declares nothing", async () => {
    const shards = { "model.safetensors": gptOssTensors({ layers: 1 }) }
    const { disagreements } = await inventoryOf(shards, { model_type: "gpt_oss" })
    expect(disagreements).toEqual(["config.json declares no quantization; the tensors are MXFP4 (gpt-oss)"])
  })

  test("a rotated basis", async () => {
    const config = compressedTensorsConfig()
    Object.assign(config.quantization_config as object, { transform_config: { config_groups: {} } })
    const { disagreements } = await inventoryOf({ "model.safetensors": compressedTensorsTensors() }, config)
    expect(disagreements[0]).toContain("the weights stay in the rotated basis")
  })

  const gptqLayer = (name: string, bits: number, groups: number): Entry[] => [
    [`${name}.qweight`, "I32", [2 * bits, 32]],
    [`${name}.qzeros`, "I32", [groups, bits]],
    [`${name}.scales`, "F16", [groups, 32]],
    [`${name}.g_idx`, "I32", [64]],
  ]

  async function gptqDisagreements(settings: object): Promise<readonly string[]> {
    using folder = temporaryFolder()
    const layers = [...gptqLayer("m.q_proj", 4, 2), ...gptqLayer("m.up_proj", 8, 1)]
    writeFileSync(folder.file("model.safetensors"), fileOf(...layers))
    writeFileSync(folder.file("config.json"), JSON.stringify({ quantization_config: settings }))
    return takeInventory(await openCheckpoint(folder.path)).disagreements
  }

  const GPTQ = { quant_method: "gptq", bits: 4, group_size: 32 }

  test("GPTQ's bits and group size, where no override explains them", async () => {
    expect(await gptqDisagreements(GPTQ)).toEqual([
      'config.json: quantization_config declares bits 4; the shapes say 8 ("m.up_proj.weight")',
      'config.json: quantization_config declares group_size 32; the shapes say 64 ("m.up_proj.weight")',
    ])
    const override = { bits: 8, group_size: -1 }
    expect(await gptqDisagreements({ ...GPTQ, dynamic: { "-:.*k_proj": {}, "+:.*up_": override } })).toEqual([])
    expect(await gptqDisagreements({ ...GPTQ, dynamic: { ".*up_": { bits: 3 } } })).toHaveLength(2)
    const extra = { ...GPTQ, quant_method: "auto-round", extra_config: { "m.up_proj": override } }
    expect(await gptqDisagreements(extra)).toEqual([])
  })
})
