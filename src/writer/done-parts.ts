/** What must be true of the parts of an output before it is finished. Nothing is written here. */
import { join } from "node:path"
import { escapeText, quote } from "../containers/quote.ts"
import { CheckError, RefusedError } from "../errors.ts"
import { type Part, partText } from "../plan/part.ts"
import { partialName } from "./commit.ts"
import { checksumFiles } from "./digest.ts"
import type { FinishedShard, JournalState } from "./journal.ts"
import { describeOtherPart, readParts } from "./parts.ts"
import { lstatOrUndefined, manifestName, type OutputPlace } from "./place.ts"
import type { FinishOptions } from "./types.ts"

/** Parts that a message lists. */
const LISTED_MAX = 5

/** A part that is whole, and its journal. */
export interface DonePart {
  readonly part: Part
  readonly journal: JournalState
}

/** All parts, in their order. Throws RefusedError with what is missing or differs. */
export async function requireParts(place: OutputPlace): Promise<DonePart[]> {
  const refuse = (what: string, hint: string) => {
    throw new RefusedError(`${escapeText(place.path)}: ${what}`, { hint })
  }
  const found = await readParts(place)
  const [first] = found
  if (first === undefined) throw new RefusedError(`${escapeText(place.path)}: no part of the output is there`)
  const { count } = first.part
  const begun = found.find(({ journal }) => journal !== undefined)
  for (const other of found) {
    const difference =
      begun?.journal === undefined ? undefined : describeOtherPart(begun.journal.fingerprint, begun.part, other)
    if (difference === undefined) continue
    const pair = `part ${partText(other.part)} does not belong to part ${partText(begun!.part)}`
    refuse(`${pair}: ${difference}`, "all parts need the same source, options and version; make the other ones again")
  }
  const present = new Set(found.map(({ part }) => part.index))
  const all = Array.from({ length: count }, (_, i) => i + 1)
  const missing = all.filter((index) => !present.has(index))
  if (missing.length > 0) refuse(`${listParts(missing, count)} missing`, "run `dequantizer convert --part` for each")
  const open = found.filter(({ journal }) => journal?.done !== true).map(({ part }) => part.index)
  if (open.length > 0)
    refuse(`${listParts(open, count)} not done`, "run `dequantizer convert --part … --resume` for each")
  return found.map(({ part, journal }) => ({ part, journal: journal! }))
}

/** "part 2/8 is", "parts 2/8, 3/8 and 4 more are". */
function listParts(indices: readonly number[], count: number): string {
  const shown = indices.slice(0, LISTED_MAX).map((index) => partText({ index, count }))
  const more = indices.length > LISTED_MAX ? ` and ${indices.length - LISTED_MAX} more` : ""
  return indices.length === 1 ? `part ${shown[0]} is` : `parts ${shown.join(", ")}${more} are`
}

/** The files of all parts by name, in the order of their names' giving: each once, and there in its size. */
export async function requireFiles(
  place: OutputPlace,
  parts: readonly DonePart[],
): Promise<Map<string, FinishedShard>> {
  const files = new Map<string, FinishedShard>()
  for (const { part, journal } of parts) {
    const refuse = (name: string, what: string) => {
      throw new RefusedError(`${escapeText(place.path)}: part ${partText(part)}: file ${quote(name)} ${what}`, {
        hint: `make the part again: \`dequantizer convert --part ${partText(part)} --resume\``,
      })
    }
    for (const file of journal.shards.values()) {
      if (files.has(file.name)) refuse(file.name, "is another part's as well")
      files.set(file.name, file)
      const stats = await lstatOrUndefined(join(place.folder, partialName(file.name)))
      if (stats?.isFile() !== true) refuse(file.name, "is missing")
      else if (stats.size !== file.size) {
        refuse(file.name, `is not whole (expected ${file.size} bytes, found ${stats.size})`)
      }
    }
  }
  const expected = place.names.filter((name) => files.has(name) || name !== manifestName(place))
  const lost = expected.find((name) => !files.has(name))
  if (lost !== undefined) {
    throw new RefusedError(`${escapeText(place.path)}: no part has made file ${quote(lost)}`, {
      hint: "to start over, remove the folder",
    })
  }
  return new Map(expected.map((name) => [name, files.get(name)!]))
}

/** Reads all files and compares them with the checksums of their parts; returns the bytes read. Throws CheckError. */
export async function compareFiles(
  place: OutputPlace,
  parts: readonly DonePart[],
  options: FinishOptions,
): Promise<number> {
  const files = parts.flatMap(({ part, journal }) => [...journal.shards.values()].map((file) => ({ part, file })))
  const paths = files.map(({ file }) => join(place.folder, partialName(file.name)))
  const checksums = await checksumFiles(paths, options)
  for (const [i, { part, file }] of files.entries()) {
    if (checksums[i] === file.checksum) continue
    const what = `part ${partText(part)}: file ${quote(file.name)} is not what the part wrote`
    throw new CheckError(`${escapeText(place.path)}: ${what}`, {
      hint: `make the part again: \`dequantizer convert --part ${partText(part)} --resume\``,
    })
  }
  return files.reduce((sum, { file }) => sum + file.size, 0)
}
