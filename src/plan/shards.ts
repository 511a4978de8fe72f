/** How the tensors of an output are dealt out to files, and where each lies in its file. */
import { tensorBytes } from "../containers/dtype.ts"
import { encodeHeader } from "../containers/safetensors.ts"
import { DEFAULT_BASE } from "./index-file.ts"
import { sortInFile, sortNaturally } from "./order.ts"
import type { OutputShard, OutputTensor } from "./plan.ts"

/** A tensor before it has a place, and the input shard that holds its stored bytes (of a weight: its codes). */
export interface TensorDraft extends Omit<OutputTensor, "offset" | "size"> {
  readonly home: string
}

/** One file before its header is made. */
export interface ShardDraft {
  readonly name: string
  readonly tensors: readonly TensorDraft[]
  readonly metadata: ReadonlyMap<string, string>
}

/** The input's shards with their own metadata. One that has nothing left (it held only scales) is left out. */
export function keepShards(
  drafts: readonly TensorDraft[],
  inputs: readonly { readonly name: string; readonly metadata: ReadonlyMap<string, string> }[],
): ShardDraft[] {
  const byHome = Map.groupBy(drafts, (draft) => draft.home)
  const shards = inputs.map((input) => ({ ...input, tensors: byHome.get(input.name) ?? [] }))
  const filled = shards.filter((shard) => shard.tensors.length > 0)
  return filled.length > 0 ? filled : shards.slice(0, 1)
}

/** The same shards under the names that the Hub gives: those of the input are of another format. */
export function renameShards(shards: readonly ShardDraft[]): ShardDraft[] {
  return shards.map((shard, i) => ({ ...shard, name: shardName(DEFAULT_BASE, i + 1, shards.length) }))
}

/**
 * New shards of at most `size` bytes of tensors each (a larger tensor has one of its own), filled in natural order of
 * the names. They are called as the Hub calls them: model-00001-of-0000N.safetensors, or model.safetensors if there
 * is one.
 */
export function splitShards(
  drafts: readonly TensorDraft[],
  size: number,
  base: string,
  metadata: ReadonlyMap<string, string>,
): ShardDraft[] {
  const groups: TensorDraft[][] = [[]]
  let filled = 0
  for (const draft of sortNaturally(drafts)) {
    const bytes = draftBytes(draft)
    if (groups.at(-1)!.length > 0 && filled + bytes > size) {
      groups.push([])
      filled = 0
    }
    groups.at(-1)!.push(draft)
    filled += bytes
  }
  return groups.map((tensors, i) => ({ name: shardName(base, i + 1, groups.length), tensors, metadata }))
}

function shardName(base: string, number: number, count: number): string {
  if (count === 1) return `${base}.safetensors`
  return `${base}-${padFive(number)}-of-${padFive(count)}.safetensors`
}

function padFive(number: number): string {
  return String(number).padStart(5, "0")
}

/** Gives each tensor its place: the order of the reference writer, no holes, the header first. */
export function layShard({ name, tensors, metadata }: ShardDraft): OutputShard {
  const ordered = sortInFile(tensors)
  const head = encodeHeader(ordered, metadata, name)
  let offset = head.byteLength
  const placed = ordered.map((draft): OutputTensor => {
    const size = draftBytes(draft)
    const tensor = { name: draft.name, dtype: draft.dtype, shape: draft.shape, offset, size, origin: draft.origin }
    offset += size
    return tensor
  })
  return { name, tensors: placed, head, size: offset }
}

/** A tensor's bytes in the output. Decoding may grow a weight past what a number can count only in a hostile header. */
export function draftBytes(draft: Pick<OutputTensor, "dtype" | "shape">): number {
  const size = tensorBytes(draft.dtype, draft.shape)
  if (size === undefined) throw new Error(`no byte size: ${draft.dtype} [${draft.shape.join(", ")}]`)
  return size
}
