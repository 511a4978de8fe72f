/**
 * Finishing an output that was made in parts: all of them must be there, done, and of one source, options and version. Then
 * their files are compared with the checksums that the parts noted, and get their names as those of a whole run do, the
 * index last. It needs the output's folder alone, not the source.
 *
 * The journal of the whole output, which notes the names that are about to be given, tells after a kill where the
 * finishing was; the parts' journals go before it does.
 */
import { realpath, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import { openCheckpoint } from "../checkpoint/open.ts"
import { ioFault } from "../containers/file.ts"
import { escapeText } from "../containers/quote.ts"
import { DequantizerError, IoError, RefusedError } from "../errors.ts"
import { commitFiles, partialName, recoverCommit } from "./commit.ts"
import { compareFiles, type DonePart, requireFiles, requireParts } from "./done-parts.ts"
import { writeText } from "./files.ts"
import { throwIfCancelled } from "./job.ts"
import { Journal, type JournalState, readJournal, removeJournal } from "./journal.ts"
import { staleFiles } from "./leftovers.ts"
import { acquireLock, hasLockFile } from "./lock.ts"
import { manifestText, readManifest } from "./manifest.ts"
import { partFiles, readParts } from "./parts.ts"
import { lstatOrUndefined, manifestName, type OutputPlace, refuseExisting, requireWritable } from "./place.ts"
import { runFileName } from "./run-files.ts"
import { totalNonFinite } from "./shards.ts"
import type { FinishOptions, FinishReport } from "./types.ts"

type Named = Omit<FinishReport, "output" | "seconds">

/**
 * Gives an output that was made in parts its names. Throws RefusedError where parts are missing, not done or made
 * differently, or where a run is at work; CheckError where a file is not what its part noted; IoError; CancelledError
 * when the signal fires. An output that is complete stays as it is.
 */
export async function finishParts(output: string, options: FinishOptions = {}): Promise<FinishReport> {
  const started = performance.now()
  throwIfCancelled(options.signal)
  const place = await folderPlace(output)
  const report = (named: Named) => ({ ...named, output: place.path, seconds: (performance.now() - started) / 1000 })
  if ((await partFiles(place)).length === 0 && !(await hasLockFile(place))) return report(await requireComplete(place))
  await requireWritable(place)
  const lock = await acquireLock(place)
  try {
    const recovered = await recoverFinish(place)
    if (recovered !== undefined) return report(recovered)
    // A finishing that was killed with its last step, the lock's removal, undone has left the lock alone.
    if ((await partFiles(place)).length === 0) return report(await requireComplete(place))
    return report(await finishLocked(place, options))
  } finally {
    await lock.release()
  }
}

async function folderPlace(output: string): Promise<OutputPlace> {
  try {
    const path = await realpath(output)
    if (!(await stat(path)).isDirectory()) throw new IoError(`${escapeText(output)}: is no folder`)
    return { kind: "folder", path, folder: path, names: [], exists: true }
  } catch (error) {
    throw ioFault(output, error)
  }
}

/** What `finish` says of a folder without parts: fine where it holds a checkpoint, such as one finished before. */
async function requireComplete(place: OutputPlace): Promise<Named> {
  try {
    const { shards } = await openCheckpoint(place.path)
    const files = shards.map(({ file }) => file.name)
    const bytes = shards.reduce((sum, { file }) => sum + file.size, 0)
    return { files, parts: 0, bytes, bytesChecked: 0, nonFinite: { count: 0, tensor: undefined } }
  } catch (error) {
    if (!(error instanceof DequantizerError)) throw error
    throw new RefusedError(`${escapeText(place.path)}: holds no parts of an output`, {
      hint: "`dequantizer convert --part I/N` makes them",
      cause: error,
    })
  }
}

/** Deals with what a finishing that was killed has left; a report where it had given the last name. */
async function recoverFinish(place: OutputPlace): Promise<Named | undefined> {
  const earlier = await readJournal(place)
  if (earlier === undefined) {
    await removeJournal(place)
    return undefined
  }
  const parts = await partFiles(place)
  if (!(await recoverCommit(place.folder, earlier.commit ?? []))) {
    if (parts.length === 0) {
      throw new RefusedError(`${escapeText(place.path)}: a run of the whole output was interrupted here`, {
        hint: "go on with it: `dequantizer convert --resume`",
      })
    }
    await removeJournal(place)
    return undefined
  }
  const count = (await readParts(place))[0]?.part.count ?? 0
  await removePartFiles(place)
  await removeJournal(place)
  return { ...summarize(earlier), parts: count, bytesChecked: 0 }
}

function summarize({ names, shards }: Pick<JournalState, "names" | "shards">) {
  const files = [...shards.values()]
  const bytes = files.reduce((sum, { size }) => sum + size, 0)
  return { files: names, bytes, nonFinite: totalNonFinite(files.map(({ nonFinite }) => nonFinite)) }
}

async function finishLocked(empty: OutputPlace, options: FinishOptions): Promise<Named> {
  const parts = await requireParts(empty)
  const { names, replace, fingerprint } = parts[0]!.journal
  const place = { ...empty, names }
  const files = await requireFiles(place, parts)
  const bytesChecked = options.verify === "none" ? 0 : await compareFiles(place, parts, options)
  throwIfCancelled(options.signal)
  await refuseNames(place, replace)
  const manifest = join(place.folder, partialName(manifestName(place)))
  const wantsManifest = isManifestWanted(parts[0]!.journal)
  if (wantsManifest) {
    await rm(manifest, { force: true })
    await writeText(manifest, await mergeManifests(place, parts))
  }
  const stale = replace ? await staleFiles(place) : []
  const journal = await Journal.create(place, { fingerprint, replace, names }, files.values())
  try {
    await commitFiles({ folder: place.folder, names, stale, journal })
  } catch (error) {
    await removeJournal(place)
    if (wantsManifest) await rm(manifest, { force: true }).catch(() => {})
    throw error
  } finally {
    await journal.close()
  }
  await removePartFiles(place)
  await removeJournal(place)
  return { ...summarize({ names, shards: files }), parts: parts.length, bytesChecked }
}

/** Something may have taken a name of the output meanwhile. */
async function refuseNames(place: OutputPlace, replace: boolean): Promise<void> {
  if (replace) return await refuseExisting(place, true, new Set())
  for (const name of place.names) {
    if ((await lstatOrUndefined(join(place.folder, name))) === undefined) continue
    throw new RefusedError(`${escapeText(join(place.folder, name))}: exists`, { hint: "remove it, and finish again" })
  }
}

function isManifestWanted({ fingerprint }: JournalState): boolean {
  return fingerprint.options.some(([name, value]) => name === "--manifest" && value === "true")
}

/** The text of the output's manifest, as a whole run writes it. */
async function mergeManifests(place: OutputPlace, parts: readonly DonePart[]): Promise<string> {
  const lists = await Promise.all(
    parts.map(({ part }) => readManifest(join(place.folder, runFileName({ ...place, part }, "manifest")))),
  )
  const files = new Map(lists.flat().map((file) => [file.name, file]))
  return manifestText(place.names.flatMap((name) => files.get(name) ?? []))
}

/** The journals last: without them nothing tells whose the other files are. */
async function removePartFiles(place: OutputPlace): Promise<void> {
  const names = await partFiles(place)
  const isJournal = (name: string) => name.endsWith(".journal")
  for (const name of [...names.filter((name) => !isJournal(name)), ...names.filter(isJournal)]) {
    const path = join(place.folder, name)
    await rm(path, { force: true }).catch((error: unknown) => {
      throw ioFault(path, error)
    })
  }
}
