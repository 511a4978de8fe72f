/**
 * The moment in which an output gets its names. All files lie complete and flushed under temporary names; now they
 * are renamed in order, the one that makes the output complete last. Files of an older output step aside first:
 *
 *     1. old files → .dequantizer-previous/
 *     2. new files but the last → their names
 *     3. .dequantizer-previous → .dequantizer-obsolete
 *     4. the last new file → its name
 *     5. .dequantizer-obsolete is removed
 *
 * A step that fails is taken back with all before it. Before the first step the run's journal notes which files are
 * about to get their names. If the process is killed, the next run takes the names back and puts the old output where
 * it was, unless the last name was given already.
 */
import type { Dirent } from "node:fs"
import { lstat, mkdir, readdir, rename, rm, rmdir } from "node:fs/promises"
import { dirname, join } from "node:path"
import { errorCode, ioFault } from "../containers/file.ts"
import { RESERVED_PREFIX } from "../plan/conversion.ts"
import { syncFolder } from "./files.ts"
import type { Journal, NamedFile } from "./journal.ts"

/** Holds files of the old output until the new one has all names but the last. */
export const PREVIOUS_FOLDER = `${RESERVED_PREFIX}-previous`
/** The same folder from then on. */
export const OBSOLETE_FOLDER = `${RESERVED_PREFIX}-obsolete`

/** Temporary name of a file that is being written. */
export function partialName(name: string): string {
  return `${name}.partial`
}

/** The name that a file with a temporary one will get. */
export function finalName(name: string): string {
  return name.replace(/\.partial$/, "")
}

export interface Commit {
  readonly folder: string
  /** Names of the new output; the last one makes it complete. */
  readonly names: readonly string[]
  /** Names of the old output that the new one does not have. */
  readonly stale: readonly string[]
  /** Is told which files are about to get their names. */
  readonly journal: Pick<Journal, "addCommit">
}

/** Gives the files their names. Throws IoError with everything as it was. */
export async function commitFiles(commit: Commit): Promise<void> {
  const { folder, names, stale, journal } = commit
  await journal.addCommit(await Promise.all(names.map((name) => identify(folder, name))))
  const [only] = names
  if (only !== undefined && names.length === 1 && stale.length === 0) {
    // One file takes the place of another in one step; there is no moment without either.
    await renameFile(join(folder, partialName(only)), join(folder, only))
    await syncFolders(folder, names)
  } else {
    await commitMany(commit)
  }
}

async function commitMany({ folder, names, stale }: Commit): Promise<void> {
  const previous = join(folder, PREVIOUS_FOLDER)
  const obsolete = join(folder, OBSOLETE_FOLDER)
  const undo: (() => Promise<void>)[] = []
  const move = async (from: string, to: string) => {
    await renameFile(from, to)
    undo.push(() => rename(to, from))
  }
  try {
    await rm(obsolete, { recursive: true, force: true })
    // From the back: what makes the old output look complete goes first.
    for (const name of [...names, ...stale].toReversed()) {
      if (await exists(join(folder, name))) {
        await mkdir(dirname(join(previous, name)), { recursive: true })
        await move(join(folder, name), join(previous, name))
      }
    }
    for (const name of names.slice(0, -1)) await move(join(folder, partialName(name)), join(folder, name))
    await syncFolders(folder, names)
    if (await exists(previous)) await move(previous, obsolete)
    for (const name of names.slice(-1)) await move(join(folder, partialName(name)), join(folder, name))
    await syncFolders(folder, names)
  } catch (error) {
    // One step that fails must not keep the others from being taken back, nor hide why that is necessary.
    for (const step of undo.toReversed()) await step().catch(() => {})
    await removeEmptyFolders(previous)
    throw ioFault(folder, error)
  }
  await rm(obsolete, { recursive: true, force: true }).catch(() => {})
}

async function identify(folder: string, name: string): Promise<NamedFile> {
  const path = join(folder, partialName(name))
  try {
    return { name, inode: (await lstat(path, { bigint: true })).ino }
  } catch (error) {
    throw ioFault(path, error)
  }
}

/**
 * Takes back what a killed run has begun of its commit; `files` are those that its journal notes. Where the last of
 * them has its name the output is complete: then the result is true, and only what is left of the old one is removed.
 */
export async function recoverCommit(folder: string, files: readonly NamedFile[]): Promise<boolean> {
  const obsolete = join(folder, OBSOLETE_FOLDER)
  try {
    const last = files.at(-1)
    if (last !== undefined && (await isNamed(folder, last))) {
      await rm(obsolete, { recursive: true, force: true })
      return true
    }
    for (const file of files.toReversed()) {
      if (await isNamed(folder, file)) await rename(join(folder, file.name), join(folder, partialName(file.name)))
    }
    // Without a note of the new files nothing tells whether the old ones in the second folder are still wanted.
    if (files.length > 0) await bringBack(obsolete, folder)
    await bringBack(join(folder, PREVIOUS_FOLDER), folder)
    await rm(obsolete, { recursive: true, force: true })
    return false
  } catch (error) {
    throw ioFault(folder, error)
  }
}

/** Whether a file of the run has its final name. */
async function isNamed(folder: string, { name, inode }: NamedFile): Promise<boolean> {
  try {
    return (await lstat(join(folder, name), { bigint: true })).ino === inode
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false
    throw error
  }
}

async function bringBack(from: string, folder: string): Promise<void> {
  for (const name of await filesBelow(from)) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await rename(join(from, name), join(folder, name))
  }
  await removeEmptyFolders(from)
}

async function renameFile(from: string, to: string): Promise<void> {
  await rename(from, to).catch((error: unknown) => {
    throw ioFault(to, error)
  })
}

async function entriesOf(path: string): Promise<Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true })
  } catch (error) {
    if (errorCode(error) === "ENOENT") return []
    throw error
  }
}

/** A link that leads nowhere is there as well. */
async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false
    throw error
  }
}

/** Names of all files below a folder that may be missing, relative to it. */
async function filesBelow(path: string, prefix = ""): Promise<string[]> {
  const names: string[] = []
  for (const entry of await entriesOf(join(path, prefix))) {
    const name = prefix + entry.name
    if (entry.isDirectory()) names.push(...(await filesBelow(path, `${name}/`)))
    else names.push(name)
  }
  return names
}

/** Removes a folder and those in it as far as they hold no file. */
async function removeEmptyFolders(path: string): Promise<void> {
  for (const entry of await entriesOf(path)) {
    if (entry.isDirectory()) await removeEmptyFolders(join(path, entry.name))
  }
  await rmdir(path).catch(() => {})
}

/** Flushes the folders of the named files: without it a crash may forget a rename. */
async function syncFolders(folder: string, names: readonly string[]): Promise<void> {
  const folders = new Set([folder, ...names.map((name) => dirname(join(folder, name)))])
  for (const path of folders) await syncFolder(path)
}
