/** The `*.safetensors.index.json` of a sharded output. */
import type { CheckpointIndex } from "../checkpoint/checkpoint.ts"
import { elementCount } from "../containers/dtype.ts"
import { JsonNumber, type JsonValue, stringifyJson } from "../containers/json.ts"
import { sortUtf8 } from "./order.ts"
import type { OutputShard, Plan } from "./plan.ts"

const SUFFIX = ".safetensors.index.json"
/** What the shards of a model are called where the input says nothing. */
export const DEFAULT_BASE = "model"

/** What new shards are called before `-00001-of-…`: the start of the input's index name, or "model". */
export function indexBase(index: CheckpointIndex | undefined): string {
  return index?.name.endsWith(SUFFIX) ? index.name.slice(0, -SUFFIX.length) : DEFAULT_BASE
}

/**
 * Name and text of the index: the input's metadata with `total_size` set (bytes of all tensors) and
 * `total_parameters` too where the input counts them (elements of all tensors); weight_map sorted by name, as
 * `save_pretrained` writes it.
 */
export function buildIndex(input: CheckpointIndex | undefined, shards: readonly OutputShard[]): Plan["index"] {
  const tensors = shards.flatMap((shard) => shard.tensors.map((tensor) => ({ shard: shard.name, tensor })))
  const metadata = new Map<string, JsonValue>(input?.metadata)
  metadata.set("total_size", number(tensors.reduce((bytes, { tensor }) => bytes + tensor.size, 0)))
  if (metadata.has("total_parameters")) {
    metadata.set(
      "total_parameters",
      number(tensors.reduce((count, { tensor }) => count + elementCount(tensor.shape)!, 0)),
    )
  }
  const places = new Map(tensors.map(({ shard, tensor }) => [tensor.name, shard]))
  const weightMap = new Map<string, JsonValue>(sortUtf8([...places.keys()]).map((name) => [name, places.get(name)!]))
  const text = stringifyJson(
    new Map<string, JsonValue>([
      ["metadata", metadata],
      ["weight_map", weightMap],
    ]),
  )
  return { name: input?.name ?? DEFAULT_BASE + SUFFIX, text: `${text}\n` }
}

function number(value: number): JsonNumber {
  return new JsonNumber(String(value))
}
