/**
 * `*.safetensors.index.json`: which tensor is in which shard. Its names come from a stranger and become paths, so
 * they must be plain file names; the shards must hold exactly the tensors that it lists.
 */
import { basename } from "node:path"
import type { ContainerFile, StoredTensor } from "../containers/container.ts"
import { type Opener, readWhole } from "../containers/file.ts"
import { decodeUtf8, isJsonObject, type JsonObject, JsonReader } from "../containers/json.ts"
import { fileFault, quote, tensorFault } from "../containers/quote.ts"
import type { CheckpointIndex } from "./checkpoint.ts"

/** A million tensors take about 100 MB. */
const INDEX_SIZE_MAX = 512 * 1024 * 1024

/** Reads and checks an index by itself. Throws MalformedError, IoError, and what `opener` throws. Linear in its entries. */
export async function readIndex(path: string, opener?: Opener): Promise<CheckpointIndex> {
  return parseIndex(await readWhole(path, INDEX_SIZE_MAX, opener), path)
}

/** An index from its bytes. */
export function parseIndex(bytes: Uint8Array, path: string): CheckpointIndex {
  const reader = new JsonReader(decodeUtf8(bytes, path), path)
  const keys = new Set<string>()
  const tensorNames: string[] = []
  const shardNames: string[] = []
  let metadata: JsonObject = new Map()
  reader.object((key) => {
    if (keys.has(key)) reader.duplicate(key)
    keys.add(key)
    if (key === "weight_map") {
      readWeightMap(reader, path, tensorNames, shardNames)
    } else if (key === "metadata") {
      const value = reader.value()
      if (isJsonObject(value)) metadata = value
      else if (value !== null) reader.fail("metadata is not an object")
    } else {
      reader.skip()
    }
  })
  reader.end()
  if (!keys.has("weight_map")) throw fileFault(path, "index has no weight_map")
  if (tensorNames.length === 0) throw fileFault(path, "index lists no tensor")
  return { path, name: basename(path), metadata, tensorNames, shardNames }
}

function readWeightMap(reader: JsonReader, path: string, tensorNames: string[], shardNames: string[]): void {
  const known = new Set<string>()
  let lastName = ""
  let lastShard = ""
  // Writers sort the names: as long as each is greater than the one before, none can be there twice.
  let seen: Set<string> | undefined
  reader.object((name) => {
    if (seen === undefined && tensorNames.length > 0 && name <= lastName) seen = new Set(tensorNames)
    if (seen !== undefined) {
      const count = seen.size
      if (seen.add(name).size === count) reader.duplicate(name)
    }
    lastName = name
    // Neighbours mostly lie in one shard; its name is then one string, not a slice of the text for each.
    if (tensorNames.length === 0 || !reader.takeString(lastShard)) {
      lastShard = reader.string("the name of a shard")
      if (!known.has(lastShard)) checkShardName(path, name, lastShard)
      known.add(lastShard)
    }
    tensorNames.push(name)
    shardNames.push(lastShard)
  }, "an object as weight_map")
}

/** The names of the shards in their order. */
export function shardNames(index: CheckpointIndex): string[] {
  return [...new Set(index.shardNames)].sort()
}

function checkShardName(path: string, tensor: string, shard: string): void {
  const fault = shardNameFault(shard)
  if (fault === undefined) return
  throw tensorFault(path, tensor, fault, { expected: "the plain name of a .safetensors file", found: quote(shard) })
}

function shardNameFault(shard: string): string | undefined {
  if (shard.includes("/") || shard.includes("\\") || shard.startsWith("..") || /^[A-Za-z]:/.test(shard)) {
    return "shard name is a path"
  }
  if (/[\u0000-\u001f\u007f]/.test(shard)) return "shard name has control characters"
  if (!shard.endsWith(".safetensors") || shard === ".safetensors") return "shard is not a .safetensors file"
  if (Buffer.byteLength(shard) > 255) return "shard name is too long"
  return undefined
}

/**
 * All tensors of the shards by name. Throws MalformedError where two shards share one or the index says otherwise.
 */
export function collectTensors(
  shards: readonly ContainerFile[],
  index: CheckpointIndex | undefined,
): Map<string, StoredTensor> {
  const tensors = new Map<string, StoredTensor>()
  for (const { tensors: list } of shards) {
    for (const tensor of list) {
      const count = tensors.size
      if (tensors.set(tensor.name, tensor).size === count) throw inTwoFiles(shards, tensor, index)
    }
  }
  if (index !== undefined && !isListed(tensors, index)) refuseIndex(tensors, index)
  return tensors
}

/** Whether the index lists these tensors, each in its file, and nothing else: as many, and each of them is there. */
function isListed(tensors: ReadonlyMap<string, StoredTensor>, { tensorNames, shardNames }: CheckpointIndex): boolean {
  if (tensors.size !== tensorNames.length) return false
  for (let i = 0; i < tensorNames.length; i += 1) {
    if (tensors.get(tensorNames[i]!)?.file.name !== shardNames[i]) return false
  }
  return true
}

/** Throws what is wrong with an index that does not list just these tensors. */
function refuseIndex(tensors: ReadonlyMap<string, StoredTensor>, index: CheckpointIndex): never {
  const places = new Map(index.tensorNames.map((name, i) => [name, index.shardNames[i]!]))
  for (const { name, file } of tensors.values()) {
    const listed = places.get(name)
    if (listed === file.name) continue
    const found = listed === undefined ? "nothing" : quote(listed)
    throw tensorFault(file.path, name, `is not what ${quote(index.name)} says`, { expected: quote(file.name), found })
  }
  for (const [name, shard] of places) {
    if (tensors.has(name)) continue
    throw tensorFault(index.path, name, "is not in the shard that the index names", {
      expected: `a tensor of ${quote(shard)}`,
      found: "nothing",
    })
  }
  throw new Error("unreachable: the index lists every tensor in its file, and nothing else")
}

function inTwoFiles(
  shards: readonly ContainerFile[],
  { name, file }: StoredTensor,
  index: CheckpointIndex | undefined,
): Error {
  const other = shards.find(({ tensors }) => tensors.some((tensor) => tensor.name === name))!.file
  return tensorFault(file.path, name, "is in two files", {
    expected: "one",
    found: `${quote(other.name)} and ${quote(file.name)}`,
    ...(index === undefined ? { hint: "name the file that is meant, if each is a model of its own" } : {}),
  })
}
