import { describe, expect, test } from "bun:test"
import { existsSync } from "node:fs"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { MalformedError, UsageError } from "../../src/errors.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import { planNotes } from "../../src/plan/describe.ts"
import type { Plan, PlanOptions } from "../../src/plan/plan.ts"
import {
  randomBytes,
  temporaryFolder,
  tensor,
  writeCheckpointFolder,
  writeSafetensors,
} from "../support/checkpoints.ts"
import { planText } from "../support/describe-plan.ts"
import {
  denseTensors,
  gptOssOriginalTensors,
  gptOssTensors,
  writeCompressedTensorsFolder,
  writeGptOssFolder,
} from "../support/models.ts"

const tiny = { layers: 1, experts: 2, hidden: 32, intermediate: 64, vocabulary: 8 }

async function plan(write: (path: string) => void, options: Partial<PlanOptions> = {}, name = "in"): Promise<Plan> {
  using folder = temporaryFolder()
  write(folder.file(name))
  return planConversion(await openCheckpoint(folder.file(name)), options)
}

const gptOss = (path: string) => writeGptOssFolder(path, tiny, 2)
const original = (path: string) => writeSafetensors(path, gptOssOriginalTensors(tiny))
const compressed = (path: string) => writeCompressedTensorsFolder(path, tiny)
const dense = (path: string) => writeSafetensors(path, denseTensors(), { origin: "test", format: "np" })

describe("what a conversion gives", () => {
  test("gpt-oss with the Hub's names: experts transposed, shards and index kept", async () => {
    const result = await plan(gptOss)
    expect(planText(result)).toMatchSnapshot()
    expect(result.index?.text).toMatchSnapshot()
    expect(result.config).toMatchSnapshot()
    expect(planNotes(result)).toEqual([])
  })

  test("gpt-oss with its original names: experts as stored, a file stays a file", async () => {
    const result = await plan(original, { to: "F32" }, "model.safetensors")
    expect(planText(result)).toMatchSnapshot()
    expect(result.config).toBeUndefined()
    expect(result.index).toBeUndefined()
  })

  test("compressed-tensors", async () => {
    const result = await plan(compressed, { to: "F16" })
    expect(planText(result)).toMatchSnapshot()
    expect(result.config).toMatchSnapshot()
    expect(result.index).toBeUndefined()
  })

  test("a dense file is copied", async () => {
    const result = await plan(dense, {}, "model.safetensors")
    expect(planText(result)).toMatchSnapshot()
    expect(planNotes(result)).toEqual(["no tensor is quantized: the output is a copy"])
  })

  test("--cast-all casts what is F32, F16 or BF16 and nothing else", async () => {
    const result = await plan(dense, { castAll: true, to: "F16" }, "model.safetensors")
    expect(planText(result)).toMatchSnapshot()
    expect(planNotes(result)).toEqual(["no tensor is quantized: 4 tensors cast, the others copied"])
  })

  test("is the same whatever the order of the input's tensors", async () => {
    const reversed = (path: string) => writeSafetensors(path, gptOssOriginalTensors(tiny).toReversed())
    const [a, b] = [await plan(original, {}, "a.safetensors"), await plan(reversed, {}, "a.safetensors")]
    expect(planText(a)).toBe(planText(b))
    expect(a.shards[0]!.head).toEqual(b.shards[0]!.head)
  })
})

describe("layout", () => {
  const down = "model.layers.0.mlp.experts.down_proj"
  const shapeOf = (result: Plan, name: string) =>
    result.shards.flatMap((shard) => shard.tensors).find((candidate) => candidate.name === name)?.shape

  test.each([
    ["auto", [2, 64, 32]],
    ["hf", [2, 64, 32]],
    ["raw", [2, 32, 64]],
  ] as const)("%s on the Hub's names", async (layout, shape) => {
    expect(shapeOf(await plan(gptOss, { layout }), down)).toEqual(shape)
  })

  test.each(["auto", "raw"] as const)("%s on original names keeps [E, out, in]", async (layout) => {
    const result = await plan(original, { layout }, "model.safetensors")
    expect(shapeOf(result, "block.0.mlp.mlp2_weight")).toEqual([2, 32, 64])
  })

  test("hf on original names gives the Hub's names and forms", async () => {
    const result = await plan(original, { layout: "hf" }, "model.safetensors")
    const hub = await plan(gptOss, {})
    const forms = ({ shards }: Plan) =>
      shards.flatMap((shard) => shard.tensors.map(({ name, dtype, shape }) => `${name} ${dtype} ${shape}`)).toSorted()
    expect(forms(result)).toEqual(forms(hub))
  })
})

describe("include and exclude", () => {
  test("what is left out keeps its stored tensors, and the config its settings", async () => {
    const result = await plan(gptOss, { exclude: ["*.down_proj"] })
    const names = result.shards.flatMap((shard) => shard.tensors.map((candidate) => candidate.name))
    expect(names.filter((name) => /proj(_blocks|_scales)?$/.test(name)).toSorted()).toEqual([
      "model.layers.0.mlp.experts.down_proj_blocks",
      "model.layers.0.mlp.experts.down_proj_scales",
      "model.layers.0.mlp.experts.gate_up_proj",
    ])
    expect(JSON.parse(result.config!).quantization_config.quant_method).toBe("mxfp4")
    expect(planNotes(result)).toEqual([
      '1 weight left quantized as stored: "model.layers.0.mlp.experts.down_proj"; ' +
        "config.json keeps the quantization settings",
    ])
  })

  test("include is the other way round, exclude counts more, and both select what is cast", async () => {
    const options = {
      include: ["*.gate_up_proj", "*norm*"],
      exclude: ["model.norm.*"],
      castAll: true,
      to: "F32",
    } as const
    const tensors = (await plan(gptOss, options)).shards.flatMap((shard) => shard.tensors)
    expect(tensors.filter(({ origin }) => origin.kind !== "copy").map(({ name }) => name)).toEqual([
      "model.layers.0.input_layernorm.weight",
      "model.layers.0.mlp.experts.gate_up_proj",
      "model.layers.0.post_attention_layernorm.weight",
    ])
  })

  test("side tensors and side files of the quantization stay with what stays quantized", async () => {
    const write = (path: string) => {
      writeCheckpointFolder(path, {
        shards: {
          "model.safetensors": [
            ...gptOssTensors(tiny),
            tensor("model.layers.0.mlp.experts.input_scale", "F32", [], 1),
            tensor("model.layers.9.input_scale", "F32", [], 2),
          ],
        },
        files: { "quantize_config.json": "{}" },
      })
    }
    const decoded = await plan(write)
    expect(decoded.sideFiles).toEqual([])
    expect(planNotes(decoded)).toEqual([
      "2 side tensors of the quantization left out: " +
        '"model.layers.0.mlp.experts.input_scale", "model.layers.9.input_scale"',
    ])
    const kept = await plan(write, { exclude: ["*down_proj"] })
    expect(kept.sideFiles.map((file) => file.name)).toEqual(["quantize_config.json"])
    const names = kept.shards.flatMap((shard) => shard.tensors.map((candidate) => candidate.name))
    expect(names.filter((name) => name.endsWith("input_scale"))).toEqual(["model.layers.0.mlp.experts.input_scale"])
  })
})

describe("shards", () => {
  const names = (result: Plan) => result.shards.map((shard) => shard.name)

  test("keep: the input's names; one that held only scales is gone, its weights are with their codes", async () => {
    const all = gptOssTensors(tiny)
    const result = await plan((path) =>
      writeCheckpointFolder(path, {
        shards: {
          "model-00001-of-00002.safetensors": all.filter(({ name }) => !name.endsWith("_scales")),
          "model-00002-of-00002.safetensors": all.filter(({ name }) => name.endsWith("_scales")),
        },
        index: { total_parameters: 1, origin: { made: "by hand" } },
      }),
    )
    expect(names(result)).toEqual(["model-00001-of-00002.safetensors"])
    const index = JSON.parse(result.index!.text)
    const tensors = result.shards.flatMap((shard) => shard.tensors)
    expect(index.metadata).toEqual({
      total_parameters: tensors.reduce((count, { shape }) => count + shape.reduce((a, b) => a * b, 1), 0),
      origin: { made: "by hand" },
      total_size: tensors.reduce((bytes, { size }) => bytes + size, 0),
    })
    expect(Object.keys(index.weight_map)).toEqual(tensors.map(({ name }) => name).toSorted())
    expect(new Set(Object.values(index.weight_map))).toEqual(new Set(names(result)))
  })

  test("single: one file, no index", async () => {
    const result = await plan(gptOss, { shardSize: "single" })
    expect(names(result)).toEqual(["model.safetensors"])
    expect(result.index).toBeUndefined()
  })

  test("SIZE: filled in natural order of the names, a tensor that is larger has its own", async () => {
    const result = await plan((path) => writeGptOssFolder(path, { ...tiny, layers: 11 }, 2), { shardSize: 20_000 })
    for (const shard of result.shards) {
      const bytes = shard.tensors.reduce((sum, { size }) => sum + size, 0)
      expect(bytes <= 20_000 || shard.tensors.length === 1).toBe(true)
    }
    const count = result.shards.length
    expect(count).toBeGreaterThan(11)
    expect(names(result)[0]).toBe(`model-00001-of-000${count}.safetensors`)
    expect(names(result).at(-1)).toBe(`model-000${count}-of-000${count}.safetensors`)
    // A shard's own tensors are ordered by dtype, so only the span of its layers is compared with the next one's.
    const spans = result.shards
      .map((shard) => shard.tensors.flatMap(({ name }) => /layers\.(\d+)/.exec(name)?.[1] ?? []).map(Number))
      .filter((layers) => layers.length > 0)
    for (const [i, layers] of spans.entries()) {
      expect(Math.min(...layers)).toBeGreaterThanOrEqual(Math.max(...(spans[i - 1] ?? [0])))
    }
    expect(new Set(spans.flat()).size).toBe(11)
    expect(result.index?.name).toBe("model.safetensors.index.json")
  })

  test("SIZE that holds everything: model.safetensors", async () => {
    const result = await plan(gptOss, { shardSize: 1e9 })
    expect(names(result)).toEqual(["model.safetensors"])
    expect(result.index).toBeUndefined()
  })

  test("SIZE on a file is a usage error", async () => {
    await expect(plan(dense, { shardSize: 1000 }, "a.safetensors")).rejects.toThrow(UsageError)
    await expect(plan(gptOss, { shardSize: 0 })).rejects.toThrow(UsageError)
    await expect(plan(gptOss, { shardSize: 1.5 })).rejects.toThrow(UsageError)
  })

  test("the file's own metadata stays, its format becomes pt", async () => {
    const result = await plan(dense, {}, "model.safetensors")
    const head = new TextDecoder().decode(result.shards[0]!.head.subarray(8))
    expect(JSON.parse(head).__metadata__).toEqual({ origin: "test", format: "pt" })
  })

  test("a file without tensors gives one without tensors", async () => {
    const result = await plan((path) => writeSafetensors(path, []), {}, "empty.safetensors")
    expect(names(result)).toEqual(["empty.safetensors"])
    expect(result.shards[0]!.size).toBe(result.shards[0]!.head.byteLength)
  })
})

test("a stored name that an excluded weight needs and another weight would take is malformed", async () => {
  const blocks = (name: string) => [
    { name: `${name}_blocks`, dtype: "U8", shape: [1, 2, 1, 16], bytes: randomBytes(32, 1) },
    { name: `${name}_scales`, dtype: "U8", shape: [1, 2, 1], bytes: randomBytes(2, 2) },
  ]
  const write = (path: string) => writeSafetensors(path, [...blocks("w"), ...blocks("w_blocks")])
  expect((await plan(write, {}, "a.safetensors")).weightCount).toBe(2)
  const collision = plan(write, { exclude: ["w"] }, "a.safetensors")
  await expect(collision).rejects.toThrow(MalformedError)
})

test("planning touches no file", async () => {
  using folder = temporaryFolder()
  writeGptOssFolder(folder.file("in"), tiny, 2)
  const checkpoint = await openCheckpoint(folder.file("in"))
  folder[Symbol.dispose]()
  expect(existsSync(folder.path)).toBe(false)
  expect(planConversion(checkpoint).weightCount).toBe(2)
})

test("a dense folder is copied with its config untouched, byte for byte", async () => {
  const config = '{"torch_dtype":"float32",\n\n "x": 1e-05 }'
  const result = await plan((path) =>
    writeCheckpointFolder(path, { shards: { "model.safetensors": denseTensors() }, config }),
  )
  expect(result.config).toBe(config)
})
