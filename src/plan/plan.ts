/** The plan of a conversion: a pure value that says everything about the output before a byte of it is written. */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import type { StoredTensor } from "../containers/container.ts"
import type { DenseDtype, SafetensorsDtype } from "../containers/dtype.ts"
import type { Inventory, Layout, MissingScale, Weight } from "../schemes/scheme.ts"
import type { Part } from "./part.ts"

export interface PlanOptions {
  /** dtype of the dequantized tensors. */
  readonly to: DenseDtype
  /** Cast the other floating tensors too. */
  readonly castAll: boolean
  readonly layout: Layout
  /** Globs on dense names; empty: all. Excluded weights keep their stored tensors. */
  readonly include: readonly string[]
  readonly exclude: readonly string[]
  /** What an FP8 tensor without scales becomes. */
  readonly missingScale: MissingScale
  /** Bytes of tensors per shard, one file, or the shards of the input. */
  readonly shardSize: number | "keep" | "single"
  /** What is written; auto: a file for a file, a folder for a folder, and a folder for GGUF, which can be either. */
  readonly kind: "auto" | "file" | "folder"
}

/** One tensor of the output. */
export interface OutputTensor {
  readonly name: string
  readonly dtype: SafetensorsDtype
  readonly shape: readonly number[]
  /** Bytes from the start of the shard's file. */
  readonly offset: number
  readonly size: number
  /** What it is made from: a weight that is decoded, or a tensor that is copied or cast. */
  readonly origin:
    | { readonly kind: "weight"; readonly weight: Weight; readonly transposed: boolean }
    | { readonly kind: "copy"; readonly tensor: StoredTensor }
    | { readonly kind: "cast"; readonly tensor: StoredTensor }
}

/** One output file. */
export interface OutputShard {
  /** File name in the output folder (or of the output file). */
  readonly name: string
  readonly tensors: readonly OutputTensor[]
  /** Length word, JSON and padding: what stands before the first tensor. */
  readonly head: Uint8Array
  /** Bytes of the whole file. */
  readonly size: number
}

/** A small file of the output. */
export interface TextFile {
  readonly name: string
  readonly text: string
}

export interface Plan {
  readonly checkpoint: Checkpoint
  readonly inventory: Inventory
  readonly options: PlanOptions
  readonly kind: "file" | "folder"
  readonly shards: readonly OutputShard[]
  /** Text of config.json without the quantization; undefined where the input has none. */
  readonly config: string | undefined
  /** Name and text of the index; undefined where there is none to write. */
  readonly index: TextFile | undefined
  /** Other files that the plan has the text of. */
  readonly textFiles: readonly TextFile[]
  /** Files copied as they are. */
  readonly sideFiles: Checkpoint["sideFiles"]
  /** Weights that are decoded. */
  readonly weightCount: number
  /** Weights that include and exclude leave as they are stored. */
  readonly keptWeights: readonly Weight[]
  /** Plain tensors that are cast. */
  readonly castCount: number
  /** Bytes of stored tensors read, of files written (weights, config, index and side files). */
  readonly bytesIn: number
  readonly bytesOut: number
  /** This is the plan of a part (part.ts): which one, and of what. */
  readonly partial?: { readonly part: Part; readonly whole: Plan }
}
