/** All files of an output but its shards, written under their temporary names. */
import { join } from "node:path"
import type { Plan } from "../plan/plan.ts"
import { partialName } from "./commit.ts"
import { EMPTY_HASH, hashFiles } from "./digest.ts"
import { copySideFile, writeText } from "./files.ts"
import { throwIfCancelled } from "./job.ts"
import type { ManifestFile } from "./manifest.ts"
import { manifestName, type OutputPlace } from "./place.ts"
import type { MadeShards } from "./shards.ts"
import type { RunOptions, WorkOptions } from "./types.ts"

/** Side files, config and index, under their temporary names. */
export async function stageSmallFiles(plan: Plan, place: OutputPlace, options: RunOptions): Promise<void> {
  const path = (name: string) => join(place.folder, partialName(name))
  const bytesTotal = plan.sideFiles.reduce((bytes, file) => bytes + file.size, 0)
  let bytesDone = 0
  const advance = (bytes: number) => {
    throwIfCancelled(options.signal)
    bytesDone += bytes
    options.onProgress?.({ phase: "finish", bytesDone, bytesTotal, tensor: undefined })
  }
  advance(0)
  // A file of the input that is called as the manifest gives way to it.
  const own = options.manifest ? manifestName(place) : undefined
  for (const file of plan.sideFiles) if (file.name !== own) await copySideFile(file, path(file.name), advance)
  for (const file of plan.textFiles) await writeText(path(file.name), file.text)
  if (plan.config !== undefined) await writeText(path("config.json"), plan.config)
  if (plan.index !== undefined) await writeText(path(plan.index.name), plan.index.text)
}

/** What the manifest says of the files of a place, which lie under their temporary names. */
export async function describeFiles(
  place: OutputPlace,
  { targets, hashes }: Pick<MadeShards, "targets" | "hashes">,
  options: WorkOptions,
): Promise<ManifestFile[]> {
  const path = (name: string) => join(place.folder, partialName(name))
  // Shards of an earlier run, and small files; all others were hashed while they were written.
  const kept = targets.filter(({ name }) => !hashes.has(name))
  const own = manifestName(place)
  const small = place.names.filter((name) => name !== own && !targets.some((target) => target.name === name))
  const requests = [
    ...kept.map((target) => ({ path: path(target.name), parts: target.tensors })),
    ...small.map((name) => ({ path: path(name), parts: [] })),
  ]
  const hashed = await hashFiles(requests, options)
  const known = new Map(hashes)
  for (const [i, { name, tensors }] of kept.entries()) {
    const { hash, parts } = hashed[i]!
    known.set(name, { file: hash, tensors: new Map(tensors.map((tensor, t) => [tensor.name, parts[t]!])) })
  }
  const files = new Map<string, ManifestFile>()
  for (const [i, name] of small.entries()) {
    const { size, hash } = hashed[kept.length + i]!
    files.set(name, { name, size, hash, tensors: [] })
  }
  for (const { name, size, tensors } of targets) {
    const { file, tensors: tensorHashes } = known.get(name)!
    const list = tensors.map((tensor) => ({ ...tensor, hash: tensorHashes.get(tensor.name) ?? EMPTY_HASH }))
    files.set(name, { name, size, hash: file, tensors: list })
  }
  return place.names.flatMap((name) => files.get(name) ?? [])
}
