/**
 * The moment in which an output gets its names. All files lie complete and flushed under temporary names; now they are
 * renamed in order, the one that makes the output complete last. Files of an older output step aside first and come back
 * if any step fails, so that there is always either the old output or the new one.
 */
import { open, rename, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import { errorCode, ioFault } from "../containers/file.ts"

/** Temporary name of a file that is being written. */
export function partialName(name: string): string {
  return `${name}.partial`
}

/** Name of a file of the old output while the new one takes its place. */
export function previousName(name: string): string {
  return `${name}.previous`
}

export interface Commit {
  readonly folder: string
  /** Names of the new output; the last one makes it complete. */
  readonly names: readonly string[]
  /** Names of the old output that the new one does not have. */
  readonly stale: readonly string[]
}

/** Gives the files their names. Throws IoError with everything as it was. */
export async function commitFiles(commit: Commit): Promise<void> {
  const { folder, names, stale } = commit
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
  const undo: (() => Promise<void>)[] = []
  const aside: string[] = []
  try {
    // From the back: what makes the old output look complete goes first.
    for (const name of [...names, ...stale].toReversed()) {
      const [from, to] = [join(folder, name), join(folder, previousName(name))]
      if (!(await renameIfThere(from, to))) continue
      aside.push(to)
      undo.push(() => rename(to, from))
    }
    for (const [i, name] of names.entries()) {
      const [from, to] = [join(folder, partialName(name)), join(folder, name)]
      if (i === names.length - 1) await syncFolders(folder, names.slice(0, -1))
      await renameFile(from, to)
      undo.push(() => rename(to, from))
    }
    await syncFolders(folder, names.slice(-1))
  } catch (error) {
    for (const step of undo.toReversed()) await step()
    throw error
  }
  for (const path of aside) await rm(path, { force: true }).catch(() => {})
}

async function renameFile(from: string, to: string): Promise<void> {
  await rename(from, to).catch((error: unknown) => {
    throw ioFault(to, error)
  })
}

async function renameIfThere(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to)
    return true
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false
    throw ioFault(from, error)
  }
}

/** Flushes the folders of the named files: without it a crash may forget a rename. */
async function syncFolders(folder: string, names: readonly string[]): Promise<void> {
  const folders = new Set([folder, ...names.map((name) => dirname(join(folder, name)))])
  for (const path of folders) {
    try {
      const handle = await open(path, "r")
      try {
        await handle.sync()
      } finally {
        await handle.close()
      }
    } catch (error) {
      // Some network file systems cannot flush a folder; the files themselves are flushed.
      if (errorCode(error) !== "EINVAL" && errorCode(error) !== "EOPNOTSUPP") throw ioFault(path, error)
    }
  }
}
