/**
 * What a scheme is: it knows which stored tensors form one weight, what the dense one is called, its shape and
 * orientation.
 */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import type { StoredTensor } from "../containers/container.ts"
import type { DenseDtype } from "../containers/dtype.ts"
import type { JsonObject } from "../containers/json.ts"
import type { CodecName } from "../native/abi.gen.ts"

/** For faults of a single file: parts of one weight may be spread over the files of a folder. */
export const SHARD_HINT = "if this is one shard of several, name their folder: the other part may be in another shard"

/** Role of a source that names the group of each row. */
export const GROUP_ROLE = "groups of rows"

/**
 * How the bytes of one stored tensor map to rows and columns of the stored matrix; see `Source` in kernels/abi.zig.
 */
export interface WeightSource {
  /** The codec's own word for it: codes, scales, … */
  readonly role: string
  readonly tensor: StoredTensor
  /** Stored rows that share one line; 0: the whole tensor belongs to every row. */
  readonly rowsPerLine: number
  readonly lineBytes: number
  /** Bytes from one batch item to the next; 0: shared. */
  readonly batchBytes: number
  /** Columns c…c+unitColumns-1 take unitBytes bytes; 0: a line cannot be cut. */
  readonly unitColumns: number
  readonly unitBytes: number
}

/** Rows in another order: dense row (o·middle + m)·inner + i is stored row (o·inner + i)·middle + m. */
export interface RowSwap {
  readonly middle: number
  readonly inner: number
}

/** A weight, found and checked: everything that is needed to decode it. */
export interface Weight {
  /** Name of the dense tensor. */
  readonly name: string
  readonly scheme: string
  readonly codec: CodecName
  readonly sources: readonly WeightSource[]
  /**
   * Tensors that only describe the weight, such as its shape: decoding has no use for them. They belong to it all the
   * same, and stay where its stored tensors stay. Absent: none.
   */
  readonly sides?: readonly StoredTensor[]
  /** The stored matrices: batch × rows × columns values. */
  readonly batch: number
  readonly rows: number
  readonly columns: number
  /** Tiles start at multiples of these. */
  readonly rowAlign: number
  readonly columnAlign: number
  readonly parameters: readonly number[]
  /**
   * Rows take turns between so many matrices: row r is row r / parts of part r % parts. Each part has as many of the
   * sources, part after part. Absent: 1.
   */
  readonly parts?: number
  readonly rowSwap?: RowSwap
  /**
   * The values are those of tensors that are not quantized and only get another form: like all such tensors they keep
   * this dtype, unless all are cast. Absent: a quantized weight, which gets the dtype that is asked for.
   */
  readonly plainDtype?: DenseDtype
  /** Shape of the dense tensor when stored rows stay rows. Its product is batch × rows × columns. */
  readonly shape: readonly number[]
  /**
   * What the convention of the stored names wants: "transposed" swaps the last two dimensions of `shape`
   * (the form that transformers loads for gpt-oss experts). "always-transposed" does so whatever the layout: the stored
   * order is that of a packing, not of a model.
   */
  readonly orientation: "as-stored" | "transposed" | "always-transposed"
}

/** Names and form of the output: auto is the form that transformers loads where that is known, else as stored. */
export type Layout = "auto" | "hf" | "raw"

/** A fault of the file, a scale of 1, or a copy of the stored tensor. */
export const MISSING_SCALES = ["error", "one", "copy"] as const
export type MissingScale = (typeof MISSING_SCALES)[number]

/** What an inventory is taken for. */
export interface InventoryOptions {
  readonly layout: Layout
  /** What a weight of a format that could do without scales becomes where it has none. */
  readonly missingScale: MissingScale
}

export interface MatchContext {
  readonly checkpoint: Checkpoint
  readonly missingScale: MissingScale
  /** A tensor of any shard. */
  tensor(name: string): StoredTensor | undefined
}

export interface Scheme {
  /** Name in `inspect`, `--json` and the formats table. */
  readonly name: string
  /** One row of `dequantizer formats`. */
  readonly row: FormatRow
  /** Takes what no other scheme knows: asked after all others. Absent: false. */
  readonly isLastResort?: boolean
  /** True when the declared quantization is this scheme's: such schemes are asked first. */
  declared(checkpoint: Checkpoint): boolean
  /**
   * Asked for each stored tensor not yet claimed, in file order. Returns the weight of which `tensor` is the anchor
   * (its codes); undefined if it is none of this scheme's. Throws MalformedError where the anchor is the scheme's but
   * partners are missing or do not fit.
   */
  match(tensor: StoredTensor, context: MatchContext): Weight | undefined
  /**
   * Asked for each tensor that no weight claimed: a sentence when the name and dtype say that it is a part of this
   * scheme without its anchor ("scales without codes"), which makes the checkpoint malformed.
   */
  orphan?(tensor: StoredTensor, context: MatchContext): string | undefined
  /** Sentences on what the config declares about the scheme's weights and their shapes contradict. */
  disagreements?(checkpoint: Checkpoint, weights: readonly Weight[]): string[]
}

export interface FormatRow {
  /** "MXFP4 (gpt-oss)". */
  readonly title: string
  /** `quant_method` or container. */
  readonly declaredAs: string
  /** Stored tensors. */
  readonly stored: string
  readonly codec: CodecName
  /** Bits per weight, scales included. */
  readonly bitsPerWeight: string
  /** The library whose result is matched bit for bit. */
  readonly reference: string
}

/** What all schemes together found. */
export interface Inventory {
  readonly weights: readonly Weight[]
  /** Tensors that are not quantized, in file order. */
  readonly plain: readonly StoredTensor[]
  /** Side tensors of a quantization that a dense checkpoint has no use for; they are left out and listed. */
  readonly dropped: readonly StoredTensor[]
  /** Sentences: what config.json declares and the tensors do not show, or the other way round. */
  readonly disagreements: readonly string[]
  /** Sentences about what an output will not have, or has otherwise than one might expect. */
  readonly notes?: readonly string[]
  /** config.json for the tensors, where the input has none and its metadata gives one; the dtype is not in it. */
  readonly config?: JsonObject
}
