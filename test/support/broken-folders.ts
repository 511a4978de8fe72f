/** Folders whose index, links, shards or config.json are broken or hostile. */
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { BrokenInput } from "./broken.ts"
import { type FolderInput, safetensorsBytes, type TensorInput, tensor, writeCheckpointFolder } from "./checkpoints.ts"

const A = tensor("a.weight", "BF16", [2, 3], 1)
const B = tensor("b.weight", "F32", [4], 2)
const INDEX = "model.safetensors.index.json"

function folder(
  name: string,
  says: RegExp,
  input: FolderInput,
  change: (path: string) => void = () => {},
  exitCode: BrokenInput["exitCode"] = 3,
): BrokenInput {
  return {
    name,
    says,
    exitCode,
    build: (parent) => {
      const path = join(parent, "model")
      writeCheckpointFolder(path, input)
      change(path)
      return path
    },
  }
}

const shards = { "x-1.safetensors": [A], "x-2.safetensors": [B] }
const mapped = (weightMap: Readonly<Record<string, unknown>>) => JSON.stringify({ metadata: {}, weight_map: weightMap })
const whole = { "a.weight": "x-1.safetensors", "b.weight": "x-2.safetensors" }

/** A folder of two good shards with the given text as its index. */
function index(name: string, says: RegExp, text: string): BrokenInput {
  return folder(name, says, { shards, files: { [INDEX]: text } })
}

/** A folder of one good shard whose index names the tensor's shard by `shard`. */
function shardName(name: string, says: RegExp, shard: string): BrokenInput {
  return index(name, says, mapped({ ...whole, "a.weight": shard }))
}

const indexes: readonly BrokenInput[] = [
  shardName("shard name with ../", /tensor "a.weight": shard name is a path/, "../x-1.safetensors"),
  shardName("shard name ..", /shard name is a path/, ".."),
  shardName("absolute shard name", /shard name is a path/, "/etc/passwd.safetensors"),
  shardName("shard name in a subfolder", /shard name is a path/, "sub/x-1.safetensors"),
  shardName("shard name with a backslash", /shard name is a path/, "..\\x-1.safetensors"),
  shardName("shard name with a drive", /shard name is a path/, "C:x-1.safetensors"),
  shardName("shard name with NUL", /shard name has control characters/, "x-1\0.safetensors"),
  shardName("shard name with an escape sequence", /\\x1b/, "\u001b[2J.safetensors"),
  shardName("empty shard name", /not a \.safetensors file/, ""),
  shardName("shard called like the index", /not a \.safetensors file/, INDEX),
  shardName("shard called config.json", /not a \.safetensors file/, "config.json"),
  shardName("shard name of 300 characters", /too long/, `${"x".repeat(300)}.safetensors`),
  shardName("shard is absent", /shard is missing.*"x-3.safetensors"/, "x-3.safetensors"),
  index("shard name is a number", /expected the name of a shard/, mapped({ "a.weight": 1 })),
  index(
    "tensor is absent from its shard",
    /tensor "c.weight": is not in the shard/,
    mapped({ ...whole, "c.weight": "x-1.safetensors" }),
  ),
  index(
    "tensor is in another shard",
    /tensor "[ab].weight": is not what/,
    mapped({ "a.weight": "x-2.safetensors", "b.weight": "x-1.safetensors" }),
  ),
  folder("tensor is in two shards", /tensor "a.weight": is in two files/, {
    shards: { "x-1.safetensors": [A], "x-2.safetensors": [A, B] },
    files: { [INDEX]: mapped(whole) },
  }),
  folder("tensor is not in the index", /tensor "c.weight": is not what/, {
    shards: { "x-1.safetensors": [A, tensor("c.weight", "F32", [1], 3)], "x-2.safetensors": [B] },
    files: { [INDEX]: mapped(whole) },
  }),
  index(
    "tensor twice in the index",
    /duplicate key "a.weight"/,
    '{"weight_map":{"a.weight":"x-1.safetensors","a.weight":"x-1.safetensors"}}',
  ),
  index("weight_map twice", /duplicate key "weight_map"/, '{"weight_map":{},"weight_map":{}}'),
  index("index without weight_map", /no weight_map/, "{}"),
  index("empty weight_map", /lists no tensor/, '{"weight_map":{}}'),
  index("weight_map is an array", /expected an object as weight_map/, '{"weight_map":[]}'),
  index("metadata is an array", /metadata is not an object/, '{"metadata":[],"weight_map":{}}'),
  index("index is an array", /expected an object/, "[]"),
  index("index is empty", /expected an object, found the end/, ""),
  index("index ends early", /not valid JSON/, '{"weight_map":{"a.weight":"x-1.safetensors"'),
]

const CODES = tensor("m.w_blocks", "U8", [2, 3, 1, 16], 4)
const SCALES = tensor("m.w_scales", "U8", [2, 3, 1], 5)

const partners: readonly BrokenInput[] = [
  folder("scales in a shard that is absent", /shard is missing.*"x-2.safetensors"/, {
    shards: { "x-1.safetensors": [CODES] },
    files: { [INDEX]: mapped({ "m.w_blocks": "x-1.safetensors", "m.w_scales": "x-2.safetensors" }) },
  }),
  folder("scales in no shard", /tensor "m.w_blocks": MXFP4 codes without scales/, {
    shards: { "x-1.safetensors": [CODES], "x-2.safetensors": [B] },
  }),
  folder("codes in no shard", /tensor "m.w_scales": MXFP4 scales without codes/, {
    shards: { "x-1.safetensors": [B], "x-2.safetensors": [SCALES] },
  }),
  folder("files whose names hold control characters", /"x\\x1b\[2J-1.safetensors" and "x-2/, {
    shards: { "x\u001b[2J-1.safetensors": [A], "x-2.safetensors": [A] },
  }),
]

const links: readonly BrokenInput[] = [
  folder(
    "shard is a link out of the folder",
    /symbolic link leaves the folder/,
    { shards: { "x-2.safetensors": [B] } },
    (path) => {
      writeFileSync(join(path, "../outside.safetensors"), safetensorsBytes([A]))
      symlinkSync("../outside.safetensors", join(path, "x-1.safetensors"))
    },
  ),
  folder("shard is a link to blobs without a cache", /symbolic link leaves the folder/, { shards: {} }, (path) => {
    mkdirSync(join(path, "../blobs"))
    writeFileSync(join(path, "../blobs/abc"), safetensorsBytes([A]))
    symlinkSync("../blobs/abc", join(path, "model.safetensors"))
  }),
  {
    name: "snapshot of the cache with a link past its blobs",
    exitCode: 3,
    says: /symbolic link leaves the folder/,
    build: (parent) => {
      const snapshot = join(parent, "models--o--n/snapshots/1234")
      mkdirSync(snapshot, { recursive: true })
      mkdirSync(join(parent, "models--o--n/blobs"))
      writeFileSync(join(parent, "secret"), safetensorsBytes([A]))
      symlinkSync("../../../secret", join(snapshot, "model.safetensors"))
      return snapshot
    },
  },
  folder(
    "config.json is a link out of the folder",
    /config.json: symbolic link leaves/,
    { shards: { "x.safetensors": [A] } },
    (path) => {
      writeFileSync(join(path, "../other.json"), "{}")
      symlinkSync("../other.json", join(path, "config.json"))
    },
  ),
  folder(
    "shard is a broken link",
    /no such file/,
    { shards: {} },
    (path) => symlinkSync("absent", join(path, "x.safetensors")),
    5,
  ),
  folder(
    "shard is a link to itself",
    /too many symbolic links/,
    { shards: {} },
    (path) => {
      symlinkSync("x.safetensors", join(path, "x.safetensors"))
    },
    5,
  ),
  folder("shard is a folder", /found a folder/, { shards: {} }, (path) => mkdirSync(join(path, "x.safetensors"))),
]

const tensors: readonly TensorInput[] = [A]
/** A folder with a good file and the given config.json. */
function config(name: string, says: RegExp, text: string): BrokenInput {
  return folder(name, says, { shards: { "model.safetensors": tensors }, config: text })
}

const configs: readonly BrokenInput[] = [
  config("config.json is an array", /config.json: not valid JSON: expected an object/, "[]"),
  config("config.json is empty", /expected an object, found the end/, ""),
  config("config.json with a key twice", /duplicate key "a"/, '{"a":1,"a":2}'),
  config("quantization_config is an array", /quantization_config is not an object/, '{"quantization_config":[]}'),
  config("quantization_config is a string", /quantization_config is not an object/, '{"quantization_config":"fp8"}'),
  config(
    "nested quantization_config is a number",
    /text_config.quantization_config is not/,
    '{"text_config":{"quantization_config":4}}',
  ),
  config("quant_method is a number", /quant_method is not a name/, '{"quantization_config":{"quant_method":1}}'),
  config("quant_method is missing", /has no quant_method/, '{"quantization_config":{"x":1}}'),
  config(
    "block of 0",
    /wrong "weight_block_size" \(expected a positive integer, found 0\)/,
    '{"quantization_config":{"quant_method":"fp8","weight_block_size":[128,0]}}',
  ),
  config(
    "block of 1.5",
    /wrong "weight_block_size".*found 1.5/,
    '{"quantization_config":{"quant_method":"fp8","weight_block_size":[1.5,1]}}',
  ),
  config(
    "group of 0",
    /wrong "group_size".*found 0/,
    '{"quantization_config":{"quant_method":"gptq","bits":4,"group_size":0}}',
  ),
  config(
    "nested group of 0",
    /wrong "group_size".*found 0/,
    '{"quantization_config":{"quant_method":"compressed-tensors","config_groups":{"g":{"weights":{"group_size":0}}}}}',
  ),
  config(
    "group is a string",
    /wrong "group_size".*found "128"/,
    '{"quantization_config":{"quant_method":"gptq","bits":4,"group_size":"128"}}',
  ),
  config("0 bits", /wrong "bits".*found 0/, '{"quantization":{"bits":0,"group_size":64}}'),
  folder("quantize_config.json with a group of 0", /quantize_config.json.*wrong "group_size"/, {
    shards: { "model.safetensors": tensors },
    files: { "quantize_config.json": '{"bits":4,"group_size":0}' },
  }),
]

const holding = (name: string, says: RegExp, files: FolderInput["files"], exitCode: 2 | 3 | 4 = 4) =>
  folder(name, says, { shards: {}, ...(files === undefined ? {} : { files }) }, () => {}, exitCode)

const contents: readonly BrokenInput[] = [
  holding("empty", /holds no \.safetensors file/, {}, 3),
  holding("config.json alone", /holds no \.safetensors file/, { "config.json": "{}" }, 3),
  holding("PyTorch files alone", /PyTorch pickle is not supported/, { "pytorch_model.bin": "x", "config.json": "{}" }),
  holding("GGUF file cut off", /not a GGUF file \(expected at least 24 bytes/, { "model-Q4_K_M.gguf": "GGUF" }, 3),
  holding("two GGUF files", /holds several GGUF files/, { "a.gguf": "GGUF", "b.gguf": "GGUF" }, 2),
  holding("ONNX files alone", /ONNX is not supported/, { "model.onnx": "x" }),
  holding(
    "two indexes",
    /holds several checkpoints/,
    {
      "a.safetensors.index.json": mapped({}),
      "b.safetensors.index.json": mapped({}),
    },
    2,
  ),
  folder("a shard of three without an index", /shards of "model" are missing \(expected 3 files, found 1\)/, {
    shards: { "model-00001-of-00003.safetensors": [A] },
  }),
  folder("one name in two files without an index", /tensor "a.weight": is in two files/, {
    shards: { "x-1.safetensors": [A], "x-2.safetensors": [A] },
  }),
]

export const brokenFolders: readonly BrokenInput[] = [...indexes, ...partners, ...links, ...configs, ...contents].map(
  (input) => ({
    ...input,
    name: `folder: ${input.name}`,
  }),
)
