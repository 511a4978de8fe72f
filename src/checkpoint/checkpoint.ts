/** A checkpoint: all tensors of a file, a set of files or a folder, what its config declares, and the files that travel with it. */
import type { ContainerFile, StoredTensor } from "../containers/container.ts"
import type { GgufMetadata } from "../containers/gguf-metadata.ts"
import type { JsonObject } from "../containers/json.ts"
import type { FolderBounds } from "./links.ts"

/** A file of the folder that is neither weights, index nor config.json. */
export interface SideFile {
  readonly path: string
  /** Relative to the folder, with `/`. */
  readonly name: string
  readonly size: number
  /**
   * A file that only describes the quantization (quantize_config.json, hf_quant_config.json, …): it is not copied.
   */
  readonly quantization: boolean
  /** Of its folder. It may be opened by `insideOpener` alone: the path may lead elsewhere by then. */
  readonly bounds: FolderBounds
}

/** The `*.index.json` of a sharded checkpoint. */
export interface CheckpointIndex {
  readonly path: string
  readonly name: string
  /** `metadata` as found; total_size is rebuilt on output, the rest is kept. */
  readonly metadata: JsonObject
  /** Names of tensors, each once, and of the shard that each is in. */
  readonly tensorNames: readonly string[]
  readonly shardNames: readonly string[]
}

export interface Checkpoint {
  /** What the user named. */
  readonly path: string
  readonly kind: "file" | "folder"
  /** The folder that holds the files. */
  readonly folder: string
  /** Shards in the order of their names. */
  readonly shards: readonly ContainerFile[]
  /** Every tensor of every shard by name, in file order within a shard. */
  readonly tensors: ReadonlyMap<string, StoredTensor>
  readonly index: CheckpointIndex | undefined
  /** config.json, parsed. */
  readonly config: JsonObject | undefined
  /** config.json as it stands in the file: an output keeps its form. */
  readonly configText: string | undefined
  /** The quantization settings declared by config.json or a quantization side file. */
  readonly declared: DeclaredQuantization | undefined
  /** The metadata of a GGUF file, of the first part of a set; undefined for safetensors. */
  readonly gguf: GgufMetadata | undefined
  readonly sideFiles: readonly SideFile[]
  /**
   * What the folder holds and a copy would miss: weights that are not part of the checkpoint (`pytorch_model.bin`
   * beside safetensors), subfolders with weights of their own (`original/`), links that leave the folder, names that are not UTF-8. Names as in
   * SideFile; folders end in `/`.
   */
  readonly leftOut: readonly string[]
  /** Bytes of all tensors. */
  readonly tensorBytes: number
}

export interface DeclaredQuantization {
  /** `quant_method`, lower case; "mlx" for MLX's own `quantization` block. */
  readonly method: string
  /** Where it stands, for messages: `config.json: quantization_config`. */
  readonly origin: string
  readonly settings: JsonObject
}
