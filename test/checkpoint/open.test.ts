/** What each kind of path opens, and which files travel with it. */
import { describe, expect, test } from "bun:test"
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { safetensorsBytes, temporaryFolder, tensor, writeCheckpointFolder } from "../support/checkpoints.ts"
import { gptOssTensors, writeGptOssFolder } from "../support/models.ts"

const A = tensor("a.weight", "BF16", [2, 3], 1)
const B = tensor("b.weight", "F32", [4], 2)
const INDEX = "model.safetensors.index.json"

describe("paths", () => {
  test("a sharded folder", async () => {
    using folder = temporaryFolder()
    writeGptOssFolder(folder.path)
    const checkpoint = await openCheckpoint(folder.path)
    expect(checkpoint).toMatchObject({ path: folder.path, kind: "folder", folder: folder.path, leftOut: [] })
    expect(checkpoint.shards.map((shard) => shard.file.name)).toEqual([
      "model-00000-of-00002.safetensors",
      "model-00001-of-00002.safetensors",
      "model-00002-of-00002.safetensors",
    ])
    const tensors = gptOssTensors()
    expect([...checkpoint.tensors.keys()]).toEqual(tensors.map(({ name }) => name))
    expect(checkpoint.tensorBytes).toBe(tensors.reduce((sum, { bytes }) => sum + bytes.length, 0))
    expect(checkpoint.index?.tensorNames.length).toBe(tensors.length)
    expect(checkpoint.declared).toMatchObject({ method: "mxfp4", origin: "config.json: quantization_config" })
    expect(checkpoint.config?.get("model_type")).toBe("gpt_oss")
    expect(checkpoint.sideFiles.map(({ name, quantization }) => [name, quantization])).toEqual([
      ["chat_template.jinja", false],
      ["generation_config.json", false],
      ["tokenizer.json", false],
    ])
  })

  test("the index stands for its folder", async () => {
    using folder = temporaryFolder()
    writeGptOssFolder(folder.path)
    const path = folder.file(INDEX)
    const { kind, tensors, folder: found } = await openCheckpoint(path)
    expect({ kind, found, size: tensors.size }).toEqual({
      kind: "folder",
      found: folder.path,
      size: gptOssTensors().length,
    })
  })

  test("a file, with what the config beside it declares", async () => {
    using folder = temporaryFolder()
    writeGptOssFolder(folder.path)
    const checkpoint = await openCheckpoint(folder.file("model-00001-of-00002.safetensors"))
    expect(checkpoint).toMatchObject({
      kind: "file",
      folder: folder.path,
      index: undefined,
      sideFiles: [],
      leftOut: [],
    })
    expect(checkpoint.shards).toHaveLength(1)
    expect(checkpoint.declared?.method).toBe("mxfp4")
  })

  test("a folder without index takes all its files", async () => {
    using folder = temporaryFolder()
    writeCheckpointFolder(folder.path, { shards: { "b.safetensors": [B], "a.safetensors": [A] } })
    const { index, shards, tensors, config, declared } = await openCheckpoint(folder.path)
    expect(shards.map((shard) => shard.file.name)).toEqual(["a.safetensors", "b.safetensors"])
    expect([...tensors.keys()]).toEqual(["a.weight", "b.weight"])
    expect({ index, config, declared }).toEqual({ index: undefined, config: undefined, declared: undefined })
  })

  test("an index under another name, when it is the only one", async () => {
    using folder = temporaryFolder()
    const files = { "x.safetensors.index.json": '{"weight_map":{"a.weight":"x-1.safetensors"}}' }
    writeCheckpointFolder(folder.path, { shards: { "x-1.safetensors": [A], "other.safetensors": [A] }, files })
    const { index, leftOut } = await openCheckpoint(folder.path)
    expect(index?.name).toBe("x.safetensors.index.json")
    expect(leftOut).toEqual(["other.safetensors"])
  })

  test("consolidated weights and adapters beside a model are not part of it", async () => {
    using folder = temporaryFolder()
    const shards = { "model.safetensors": [A], "consolidated.safetensors": [A], "adapter_model.safetensors": [B] }
    writeCheckpointFolder(folder.path, { shards })
    const { tensors, leftOut } = await openCheckpoint(folder.path)
    expect([...tensors.keys()]).toEqual(["a.weight"])
    expect(leftOut).toEqual(["adapter_model.safetensors", "consolidated.safetensors"])
  })

  test("a folder through a link, a file through a link", async () => {
    using folder = temporaryFolder()
    writeCheckpointFolder(folder.file("real"), { shards: { "model.safetensors": [A] } })
    symlinkSync("real", folder.file("link"))
    symlinkSync("real/model.safetensors", folder.file("link.safetensors"))
    expect((await openCheckpoint(folder.file("link"))).tensors.size).toBe(1)
    expect(await openCheckpoint(folder.file("link.safetensors"))).toMatchObject({ kind: "file", folder: folder.path })
  })

  test("a million entries of an index are read in linear time", async () => {
    using folder = temporaryFolder()
    writeCheckpointFolder(folder.path, { shards: { "x.safetensors": [A] } })
    const entries = Array.from({ length: 1_000_000 }, (_, i) => `"model.layers.${i}.weight":"x.safetensors"`)
    writeFileSync(folder.file(INDEX), `{"weight_map":{"a.weight":"x.safetensors",${entries.join(",")}}}`)
    await expect(openCheckpoint(folder.path)).rejects.toThrow(/tensor "model.layers.0.weight": is not in the shard/)
  }, 15_000)
})

describe("links", () => {
  /** A repository in the layout of the Hugging Face cache; gives its snapshot. */
  function cache(root: string): string {
    const repository = join(root, "models--org--name")
    const snapshot = join(repository, "snapshots", "0123abcd")
    mkdirSync(join(repository, "blobs"), { recursive: true })
    mkdirSync(join(snapshot, "sub"), { recursive: true })
    const blobs = { aa: safetensorsBytes([A]), bb: '{"model_type":"llama"}', cc: "text" }
    for (const [name, content] of Object.entries(blobs)) writeFileSync(join(repository, "blobs", name), content)
    symlinkSync("../../blobs/aa", join(snapshot, "model.safetensors"))
    symlinkSync("../../blobs/bb", join(snapshot, "config.json"))
    symlinkSync("../../blobs/cc", join(snapshot, "README.md"))
    symlinkSync("../../../blobs/cc", join(snapshot, "sub", "notes.txt"))
    return snapshot
  }

  test("a snapshot of the Hugging Face cache opens", async () => {
    using folder = temporaryFolder()
    const { tensors, config, sideFiles } = await openCheckpoint(cache(folder.path))
    expect([...tensors.keys()]).toEqual(["a.weight"])
    expect(config?.get("model_type")).toBe("llama")
    expect(sideFiles.map(({ name, size }) => [name, size])).toEqual([
      ["README.md", 4],
      ["sub/notes.txt", 4],
    ])
  })

  test("so does its file", async () => {
    using folder = temporaryFolder()
    const snapshot = cache(folder.path)
    const { folder: found, config } = await openCheckpoint(join(snapshot, "model.safetensors"))
    expect(found).toBe(snapshot)
    expect(config?.size).toBe(1)
  })

  test("links within the folder are followed, side files that leave it are left out", async () => {
    using folder = temporaryFolder()
    const path = folder.file("model")
    writeCheckpointFolder(path, { shards: { "real.safetensors": [A] }, files: { "data/a.txt": "x" } })
    writeFileSync(folder.file("secret"), "s")
    symlinkSync("../secret", join(path, "stolen.txt"))
    symlinkSync("data/a.txt", join(path, "kept.txt"))
    symlinkSync("..", join(path, "up"))
    const { sideFiles, leftOut } = await openCheckpoint(path)
    expect(sideFiles.map(({ name }) => name)).toEqual(["data/a.txt", "kept.txt"])
    expect(leftOut).toEqual(["stolen.txt", "up"])
  })
})

describe("side files", () => {
  test("all files but weights, index, config and the notes of tools; subfolders with weights stay behind", async () => {
    using folder = temporaryFolder()
    const text = "x"
    writeCheckpointFolder(folder.path, {
      shards: { "model-00001-of-00001.safetensors": [A] },
      index: {},
      config: {},
      files: {
        "tokenizer.model": text,
        LICENSE: text,
        ".gitattributes": text,
        "training_args.bin": text,
        "quantize_config.json": '{"bits":4,"group_size":128}',
        "hf_quant_config.json": '{"quantization":{"quant_algo":"FP8"}}',
        "pytorch_model.bin": text,
        "pytorch_model.bin.index.json": text,
        "model-q4.gguf": text,
        "1_Pooling/config.json": text,
        "deep/er/file.txt": text,
        "original/model.safetensors": text,
        "original/config.json": text,
        "metal/model.bin": text,
        "onnx/model.onnx": text,
        ".git/objects/aa": text,
        ".cache/huggingface/x.lock": text,
        "__pycache__/m.pyc": text,
      },
    })
    const { sideFiles, leftOut } = await openCheckpoint(folder.path)
    expect(sideFiles.map(({ name, quantization }) => (quantization ? `${name} (quantization)` : name))).toEqual([
      ".gitattributes",
      "1_Pooling/config.json",
      "LICENSE",
      "deep/er/file.txt",
      "hf_quant_config.json (quantization)",
      "quantize_config.json (quantization)",
      "tokenizer.model",
      "training_args.bin",
    ])
    expect(leftOut).toEqual(["metal/", "model-q4.gguf", "onnx/", "original/", "pytorch_model.bin"])
  })

  test("a folder with more files than any model has is refused", async () => {
    using folder = temporaryFolder()
    writeCheckpointFolder(folder.path, { shards: { "model.safetensors": [A] } })
    for (let i = 0; i <= 10_000; i += 1) writeFileSync(folder.file(`${i}.txt`), "")
    await expect(openCheckpoint(folder.path)).rejects.toMatchObject({ exitCode: 6 })
  }, 20_000)
})

describe("identity", () => {
  test("each file carries size, device, inode and time", async () => {
    using folder = temporaryFolder()
    writeCheckpointFolder(folder.path, { shards: { "model.safetensors": [A] } })
    const { shards } = await openCheckpoint(folder.path)
    const { size, device, inode, mtimeNs } = shards[0]!.file
    expect(size).toBe(safetensorsBytes([A]).length)
    expect([typeof device, typeof inode]).toEqual(["bigint", "bigint"])
    expect(Math.abs(Number(mtimeNs / 1_000_000n) - Date.now())).toBeLessThan(60_000)
  })
})
