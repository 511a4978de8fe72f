/**
 * What an earlier run has left in an output folder: the files of one that was killed, and those files of an old
 * checkpoint that the new one does not replace. Only names that this program or the old index gave are ever touched.
 */
import { readdir, rm, rmdir } from "node:fs/promises"
import { join } from "node:path"
import { isManifest } from "../checkpoint/manifest.ts"
import { ioFault, readWhole } from "../containers/file.ts"
import { isJsonObject, parseJsonObject } from "../containers/json.ts"
import { DequantizerError } from "../errors.ts"
import { partialName, recoverCommit } from "./commit.ts"
import type { JournalState } from "./journal.ts"
import { manifestName, type OutputPlace } from "./place.ts"

const INDEX_SUFFIX = ".safetensors.index.json"
const WEIGHTS_SUFFIX = ".safetensors"
/** As in the reader of indexes: real ones stay below a few megabytes. */
const INDEX_SIZE_MAX = 100_000_000

/**
 * After a run was killed: names that it had begun to give are taken back, old files that it had put aside come back, and
 * its partial files go, but for those of `keep`. True where the killed run had given all names already: its output stays.
 */
export async function recover(
  place: OutputPlace,
  journal: JournalState | undefined,
  keep: ReadonlySet<string> = new Set(),
): Promise<boolean> {
  const { folder } = place
  const complete = await recoverCommit(folder, journal?.commit ?? [])
  // A killed run of another plan had other names.
  const names = new Set([...place.names, ...(journal?.names ?? [])])
  for (const name of names) {
    if (keep.has(name)) continue
    await rm(join(folder, partialName(name)), { force: true }).catch((error: unknown) => {
      throw ioFault(join(folder, partialName(name)), error)
    })
  }
  // Folders that the run made and did not come to fill; others are not empty.
  const folders = new Set([...names].flatMap((name) => foldersOf(name)))
  for (const name of [...folders].toSorted().toReversed()) await rmdir(join(folder, name)).catch(() => {})
  return complete
}

/** "a/b/c" lies in "a" and "a/b". */
function foldersOf(name: string): string[] {
  const parts = name.split("/").slice(0, -1)
  return parts.map((_, i) => parts.slice(0, i + 1).join("/"))
}

/**
 * A manifest, weights and indexes of the old checkpoint that a loader would still find beside the new one: the indexes in the
 * folder, the shards that they name, and the one file that loaders look for before an index. Names of files in
 * `folder` itself.
 */
export async function staleFiles(place: OutputPlace): Promise<string[]> {
  const { folder, names } = place
  const present = await readdir(folder)
  const manifest = manifestName(place)
  const isStale = present.includes(manifest) && (await isOldManifest(join(folder, manifest)))
  if (place.kind === "file") return isStale && !names.includes(manifest) ? [manifest] : []
  const indexes = present.filter((name) => name.endsWith(INDEX_SUFFIX))
  const shards = (await Promise.all(indexes.map((name) => shardsOf(join(folder, name))))).flat()
  const bases = [...indexes, ...names].filter((name) => name.endsWith(INDEX_SUFFIX))
  const single = bases.map((name) => name.slice(0, -INDEX_SUFFIX.length) + WEIGHTS_SUFFIX)
  const old = new Set([...indexes, ...shards, ...single, ...(isStale ? [manifest] : [])])
  return present.filter((name) => old.has(name) && !names.includes(name))
}

/** Whether a file is a manifest, which the new output would contradict. */
async function isOldManifest(path: string): Promise<boolean> {
  try {
    return await isManifest(path)
  } catch (error) {
    if (error instanceof DequantizerError) return false
    throw error
  }
}

/** Shard names of an index; none where it cannot be read, for then it names nothing. */
async function shardsOf(path: string): Promise<string[]> {
  try {
    const map = parseJsonObject(await readWhole(path, INDEX_SIZE_MAX), path).get("weight_map")
    if (!isJsonObject(map)) return []
    return [...map.values()].filter((name): name is string => typeof name === "string" && name.endsWith(WEIGHTS_SUFFIX))
  } catch (error) {
    if (error instanceof DequantizerError) return []
    throw error
  }
}
