/** From a checkpoint and options to the plan of its conversion. Pure but for small tensors that describe others. */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import type { StoredTensor } from "../containers/container.ts"
import { isDenseDtype } from "../containers/dtype.ts"
import { isGgmlType } from "../containers/ggml-type.ts"
import { metadataJson } from "../containers/gguf-metadata.ts"
import { quote, tensorFault, tensorLine } from "../containers/quote.ts"
import { UsageError } from "../errors.ts"
import { takeInventory } from "../schemes/index.ts"
import type { Inventory, Weight } from "../schemes/scheme.ts"
import { newConfig, rewriteConfig } from "./config.ts"
import { compileGlobs } from "./glob.ts"
import { buildIndex, indexBase } from "./index-file.ts"
import type { OutputShard, Plan, PlanOptions } from "./plan.ts"
import { keepShards, layShard, renameShards, type ShardDraft, splitShards, type TensorDraft } from "./shards.ts"
import { isCast, isDecoded, storedOf, totalsOf } from "./totals.ts"

/** Start of the names that a run uses in an output folder for itself; an input's own such files are never copied. */
export const RESERVED_PREFIX = ".dequantizer"

export const DEFAULT_PLAN_OPTIONS: PlanOptions = {
  to: "BF16",
  castAll: false,
  layout: "auto",
  include: [],
  exclude: [],
  missingScale: "error",
  shardSize: "keep",
  kind: "auto",
}

/**
 * Plans the conversion of a checkpoint to dense safetensors.
 *
 * - A weight that the globs select is decoded to `to` under its dense name, with the shape that its layout gives. One
 *   that they do not select keeps its stored tensors, and config.json then keeps the quantization settings.
 * - Other tensors keep bytes, dtype and shape; with `castAll` those of F32, F16 and BF16 that the globs select become
 *   `to`.
 * - A file gives a file, a folder gives a folder with the other files of the input. GGUF gives a folder with a config
 *   made from the metadata, or a file of tensors alone.
 *
 * Throws MalformedError where the checkpoint's tensors contradict each other or two weights have one dense name,
 * UsageError for options that cannot be, UnsupportedError for a layout that this checkpoint cannot be given.
 */
export function planConversion(checkpoint: Checkpoint, options: Partial<PlanOptions> = {}): Plan {
  const settings: PlanOptions = { ...DEFAULT_PLAN_OPTIONS, ...options }
  const kind = outputKind(checkpoint, settings)
  checkOptions(kind, settings)
  const inventory = takeInventory(checkpoint, settings)
  const selection = select(inventory, settings)
  const drafts = draftTensors(inventory, settings, selection)
  checkNames(drafts)
  const shards = draftShards(checkpoint, drafts, settings, kind).map(layShard)
  const changesDtypes = drafts.some((draft) => isDecoded(draft) || isCast(draft))
  const folder = kind === "folder"
  const config = folder ? planConfig(checkpoint, inventory, settings, selection, changesDtypes) : undefined
  const small = {
    config,
    index: folder ? planIndex(checkpoint, shards, settings) : undefined,
    textFiles: folder ? planTextFiles(checkpoint) : [],
    sideFiles: folder ? planSideFiles(checkpoint, selection) : [],
  }
  const totals = totalsOf(shards, small)
  return { checkpoint, inventory, options: settings, kind, shards, ...small, keptWeights: selection.kept, ...totals }
}

interface Selection {
  readonly selected: (name: string) => boolean
  readonly decoded: readonly Weight[]
  readonly kept: readonly Weight[]
}

function outputKind(checkpoint: Checkpoint, { kind }: PlanOptions): Plan["kind"] {
  if (checkpoint.gguf !== undefined) return kind === "auto" ? "folder" : kind
  if (kind === "auto" || kind === checkpoint.kind) return checkpoint.kind
  throw new UsageError(`a ${checkpoint.kind} in gives a ${checkpoint.kind} out`)
}

function checkOptions(kind: Plan["kind"], options: PlanOptions): void {
  const { shardSize, to } = options
  if (!isDenseDtype(to)) throw new UsageError(`dtype ${quote(String(to))} is none of BF16, F16, F32`)
  if (typeof shardSize !== "number") return
  if (!Number.isSafeInteger(shardSize) || shardSize <= 0) {
    throw new UsageError(`shard size ${shardSize} is not a positive whole number of bytes`)
  }
  if (kind === "file") {
    throw new UsageError("--shard-size SIZE needs a folder: a file in gives a file out", {
      hint: "put the file in a folder of its own and convert the folder",
    })
  }
}

function select(inventory: Inventory, options: PlanOptions): Selection {
  const included = compileGlobs(options.include, true)
  const excluded = compileGlobs(options.exclude, false)
  const selected = (name: string) => included(name) && !excluded(name)
  return {
    selected,
    decoded: inventory.weights.filter((weight) => isPlain(weight) || selected(weight.name)),
    kept: inventory.weights.filter((weight) => !isPlain(weight) && !selected(weight.name)),
  }
}

/** Values of tensors that are not quantized are in the output whatever the globs select, and keep their dtype. */
function isPlain(weight: Weight): boolean {
  return weight.plainDtype !== undefined
}

function draftTensors(inventory: Inventory, options: PlanOptions, selection: Selection): TensorDraft[] {
  const drafts: TensorDraft[] = selection.decoded.map((weight) => draftWeight(weight, options, selection))
  const stored = new Set(selection.kept.flatMap((weight) => weight.sources.map((source) => source.tensor)))
  for (const tensor of keptSideTensors(inventory, selection)) stored.add(tensor)
  for (const tensor of inventory.plain) stored.add(tensor)
  for (const tensor of stored) drafts.push(draftStored(tensor, options, selection))
  return drafts
}

function draftWeight(weight: Weight, options: PlanOptions, selection: Selection): TensorDraft {
  const { name, shape, plainDtype, orientation } = weight
  const home = weight.sources[0]!.tensor.file
  const transposed = orientation === "always-transposed" || (orientation === "transposed" && options.layout !== "raw")
  const keepsDtype = plainDtype !== undefined && !(options.castAll && selection.selected(name))
  return {
    name,
    dtype: keepsDtype ? plainDtype : options.to,
    shape: transposed ? [...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!] : shape,
    origin: { kind: "weight", weight, transposed },
    home: home.name,
  }
}

function draftStored(tensor: StoredTensor, options: PlanOptions, selection: Selection): TensorDraft {
  const { name, dtype, shape } = tensor
  const home = tensor.file.name
  const cast = options.castAll && isDenseDtype(dtype) && dtype !== options.to && selection.selected(name)
  if (isGgmlType(dtype)) {
    const what = `cannot stay as it is: safetensors files have no ${dtype} tensors`
    throw new UsageError(tensorLine(tensor.file.path, name, what), {
      hint: "--include and --exclude must select every quantized tensor of a GGUF file",
    })
  }
  return cast
    ? { name, dtype: options.to, shape, origin: { kind: "cast", tensor }, home }
    : { name, dtype, shape, origin: { kind: "copy", tensor }, home }
}

/** Side tensors (input scales and the like) of the modules whose weights stay quantized; they go on being of use. */
function keptSideTensors(inventory: Inventory, selection: Selection): StoredTensor[] {
  const sides = new Set(selection.kept.flatMap((weight) => weight.sides ?? []))
  const modules = selection.kept.map((weight) => weight.name.slice(0, weight.name.lastIndexOf(".") + 1))
  return inventory.dropped.filter(
    (tensor) => sides.has(tensor) || modules.some((module) => tensor.name.startsWith(module)),
  )
}

function checkNames(drafts: readonly TensorDraft[]): void {
  const seen = new Set<string>()
  for (const draft of drafts) {
    const count = seen.size
    if (seen.add(draft.name).size > count) continue
    const other = drafts.find(({ name }) => name === draft.name)!
    const pair = [other, draft].map(describeOrigin).join(" and ")
    throw tensorFault(
      storedOf(draft)[0]!.file.path,
      draft.name,
      `two tensors of the output would have this name: ${pair}`,
    )
  }
}

function describeOrigin(draft: TensorDraft): string {
  const [stored] = storedOf(draft)
  return draft.origin.kind === "weight"
    ? `the weight of ${quote(stored!.name)}`
    : `the stored tensor ${quote(stored!.name)}`
}

function draftShards(
  checkpoint: Checkpoint,
  drafts: readonly TensorDraft[],
  options: PlanOptions,
  kind: Plan["kind"],
): ShardDraft[] {
  const inputs = checkpoint.shards.map((shard) => ({
    name: shard.file.name,
    metadata: new Map([...shard.metadata, ["format", "pt"]]),
  }))
  const isGguf = checkpoint.gguf !== undefined
  if (isGguf && options.shardSize === "keep" && kind === "folder") return renameShards(keepShards(drafts, inputs))
  if (!isGguf && (options.shardSize === "keep" || kind === "file")) return keepShards(drafts, inputs)
  // Of metadata that the input's shards give differently the first shard's counts.
  const metadata = new Map(inputs.toReversed().flatMap((input) => [...input.metadata]))
  const base = indexBase(checkpoint.index)
  const size = typeof options.shardSize === "number" ? options.shardSize : Number.POSITIVE_INFINITY
  return splitShards(drafts, size, base, metadata)
}

function planIndex(checkpoint: Checkpoint, shards: readonly OutputShard[], options: PlanOptions): Plan["index"] {
  // Loaders that find one file need no index; one that was there is kept with the shards that it named.
  const keeps = options.shardSize === "keep" && checkpoint.gguf === undefined
  const wanted = keeps ? checkpoint.index !== undefined : shards.length > 1
  return wanted ? buildIndex(checkpoint.index, shards) : undefined
}

function planSideFiles(checkpoint: Checkpoint, selection: Selection): Plan["sideFiles"] {
  const keepQuantization = selection.kept.length > 0
  return checkpoint.sideFiles.filter(
    (file) => !file.name.startsWith(RESERVED_PREFIX) && (!file.quantization || keepQuantization),
  )
}

/** What a GGUF file knows beyond its tensors: tokenizer, template, hyperparameters. */
function planTextFiles({ gguf }: Checkpoint): Plan["textFiles"] {
  return gguf === undefined ? [] : [{ name: "gguf-metadata.json", text: metadataJson(gguf) }]
}

function planConfig(
  checkpoint: Checkpoint,
  inventory: Inventory,
  options: PlanOptions,
  selection: Selection,
  changesDtypes: boolean,
): string | undefined {
  const { config, configText } = checkpoint
  if (inventory.config !== undefined) return newConfig(inventory.config, options.to)
  if (config === undefined || configText === undefined) return undefined
  const changes = {
    dtype: changesDtypes ? options.to : undefined,
    keepQuantization: selection.kept.length > 0,
  }
  return rewriteConfig(configText, config, changes)
}
