/** Whether what lies in the place of an output is the output of a plan, as far as names, sizes, headers and small files tell. */
import { join } from "node:path"
import { DequantizerError } from "../errors.ts"
import type { Plan } from "../plan/plan.ts"
import { readManifest } from "./manifest.ts"
import { manifestName, type OutputPlace, shardFile } from "./place.ts"
import { isCopy, isSame, isText } from "./small-files.ts"

/** Reads headers and small files, no values. False where something is missing or differs by a byte. Throws IoError. */
export async function isOutputOf(plan: Plan, place: OutputPlace, hasManifest: boolean): Promise<boolean> {
  const path = (name: string) => join(place.folder, name)
  const own = manifestName(place)
  if (hasManifest && !(await isManifestOf(path(own), place, own))) return false
  for (const shard of plan.shards) {
    const { head, size } = shard
    const bytes = async (offset: number, count: number) => head.subarray(offset, offset + count)
    if (!(await isSame(path(shardFile(place, shard)), head.length, bytes, size))) return false
  }
  const config = plan.config === undefined ? [] : [{ name: "config.json", text: plan.config }]
  const index = plan.index === undefined ? [] : [plan.index]
  for (const { name, text } of [...plan.textFiles, ...config, ...index]) {
    if (!(await isText(path(name), text))) return false
  }
  for (const file of plan.sideFiles) {
    if (hasManifest && file.name === own) continue
    if (!(await isCopy(path(file.name), file))) return false
  }
  return true
}

/** Whether the manifest lists the files of the place. */
async function isManifestOf(path: string, { names }: OutputPlace, own: string): Promise<boolean> {
  try {
    const listed = (await readManifest(path)).map(({ name }) => name)
    return Bun.deepEquals(listed.toSorted(), names.filter((name) => name !== own).toSorted())
  } catch (error) {
    if (error instanceof DequantizerError) return false
    throw error
  }
}
