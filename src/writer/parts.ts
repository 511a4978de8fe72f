/** The parts of an output that lie in its folder: which there are, and what their journals say. */
import { readdir } from "node:fs/promises"
import { dirname } from "node:path"
import { mapConcurrent } from "../checkpoint/concurrent.ts"
import { errorCode, ioFault } from "../containers/file.ts"
import { escapeText } from "../containers/quote.ts"
import { RefusedError } from "../errors.ts"
import { type Part, partText } from "../plan/part.ts"
import { partialName } from "./commit.ts"
import { describeDifference, type Fingerprint } from "./fingerprint.ts"
import { hasJournal, type JournalState, readJournal } from "./journal.ts"
import { lockName } from "./lock.ts"
import type { OutputPlace } from "./place.ts"
import { parsePartFile, type RunPlace } from "./run-files.ts"

/** Journals read at one time. */
const OPEN_COUNT_MAX = 16

type OutputFolder = Pick<RunPlace, "path" | "folder">

export interface PartState {
  readonly part: Part
  /** undefined: it has none that can be read. */
  readonly journal: JournalState | undefined
}

/** Entries of a folder that may be missing. */
async function entriesOf(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (errorCode(error) === "ENOENT") return []
    throw ioFault(folder, error)
  }
}

/** Names of all files that runs of parts keep for themselves in a folder. */
export async function partFiles({ folder }: OutputFolder): Promise<string[]> {
  return (await entriesOf(folder)).filter((name) => parsePartFile(name) !== undefined)
}

/** The parts that have a journal, in their order, and what it says. Throws IoError. */
export async function readParts(place: OutputFolder): Promise<PartState[]> {
  const parts = (await partFiles(place)).flatMap((name) => {
    const found = parsePartFile(name)!
    return found.file === "journal" ? [found.part] : []
  })
  const ordered = parts.toSorted((a, b) => a.count - b.count || a.index - b.index)
  return await mapConcurrent(ordered, OPEN_COUNT_MAX, async (part) => {
    return { part, journal: await readJournal({ kind: "folder", ...place, part }) }
  })
}

/** Throws RefusedError where parts lie in the place of an output that is to be made as a whole. */
export async function refuseParts(place: RunPlace): Promise<void> {
  if (place.kind === "file" || (await partFiles(place)).length === 0) return
  throw new RefusedError(`${escapeText(place.path)}: holds parts of an output`, {
    hint: "`dequantizer finish` completes them; to start over, remove the folder",
  })
}

/**
 * What differs between a part and another; undefined where they are of one output. `by` is what messages call the one
 * that `fingerprint` belongs to.
 */
export function describeOtherPart(fingerprint: Fingerprint, part: Part, other: PartState): string | undefined {
  if (other.part.count !== part.count) return `it is one of ${other.part.count} parts, not of ${part.count}`
  if (other.journal === undefined) return undefined
  return describeDifference(other.journal.fingerprint, fingerprint)
}

/** Throws RefusedError where another part that lies in the folder was made otherwise than this one will be. */
export async function refuseOtherParts(
  place: OutputFolder & { readonly part: Part },
  fingerprint: Fingerprint,
): Promise<void> {
  for (const other of await readParts(place)) {
    if (partText(other.part) === partText(place.part)) continue
    const difference = describeOtherPart(fingerprint, place.part, other)
    if (difference === undefined) continue
    throw new RefusedError(
      `${escapeText(place.path)}: part ${partText(place.part)} does not belong to part ${partText(other.part)}: ${difference}`,
      { hint: "all parts need the same source, options and version; to start over, remove the folder" },
    )
  }
}

/**
 * Throws RefusedError where something else than parts lies in the place of an output: the work of a whole run, a
 * finishing that was interrupted, or (unless it is to be replaced) any other file. `output` has the names of all files.
 */
export async function refuseOthersInPlace(output: OutputPlace, force: boolean): Promise<void> {
  if (await hasJournal(output)) {
    const isFinishing = (await partFiles(output)).some((name) => name.endsWith(".journal"))
    const what = isFinishing ? "its finishing was interrupted" : "a run of the whole output was interrupted here"
    const hint = isFinishing
      ? "run `dequantizer finish`"
      : "go on with it (--resume without --part), or remove the folder"
    throw new RefusedError(`${escapeText(output.path)}: ${what}`, { hint })
  }
  if (force) return
  const ours = new Set([lockName(output), ...output.names.map((name) => partialName(name))])
  // Folders that files of the output lie in.
  for (const name of output.names) ours.add(topOf(name))
  const found = (await entriesOf(output.folder)).filter((name) => !ours.has(name) && parsePartFile(name) === undefined)
  if (found.length === 0) return
  throw new RefusedError(`${escapeText(output.path)}: exists and is not empty`, {
    hint: "--force replaces the checkpoint in it",
  })
}

/** "a/b/c" lies in "a". */
function topOf(name: string): string {
  return dirname(name) === "." ? partialName(name) : name.slice(0, name.indexOf("/"))
}
