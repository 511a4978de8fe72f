/**
 * Symbolic links of a checkpoint's folder. A link must not make the program read, and so publish, a file from
 * elsewhere on the machine. The one layout that lives of such links is the Hugging Face cache:
 *
 *     models--org--name/snapshots/<revision>/model.safetensors -> ../../blobs/<hash>
 */
import { type FileHandle, lstat, readlink, realpath } from "node:fs/promises"
import { basename, dirname, join, sep } from "node:path"
import { ioFault } from "../containers/file.ts"
import { fileFault, quote } from "../containers/quote.ts"
import type { MalformedError } from "../errors.ts"

/** Folders between a file and the `snapshots` folder above it; repositories are flat or nearly so. */
const SNAPSHOT_DEPTH_MAX = 8

/** Where the files of one folder may lie. */
export interface FolderBounds {
  /** The folder's real path. */
  readonly root: string
  /** Real path of the `blobs` folder where the folder is a snapshot of the Hugging Face cache. */
  readonly blobs: string | undefined
}

export async function folderBounds(folder: string): Promise<FolderBounds> {
  try {
    const root = await realpath(folder)
    let above = root
    for (let depth = 0; depth < SNAPSHOT_DEPTH_MAX && dirname(above) !== above; depth += 1) {
      above = dirname(above)
      if (basename(above) === "snapshots") {
        const blobs = await realpath(join(dirname(above), "blobs")).catch(() => undefined)
        return { root, blobs }
      }
    }
    return { root, blobs: undefined }
  } catch (error) {
    throw ioFault(folder, error)
  }
}

/**
 * Where a link of the folder leads; undefined where that is neither in the folder nor a blob. Files that are no links
 * stay.
 */
export async function insideTarget(path: string, bounds: FolderBounds): Promise<string | undefined> {
  try {
    const stats = await lstat(path)
    if (!stats.isSymbolicLink()) return path
    const target = await realpath(path)
    return isInside(target, bounds) ? target : undefined
  } catch (error) {
    throw ioFault(path, error)
  }
}

/** Of a real path. */
function isInside(target: string, { root, blobs }: FolderBounds): boolean {
  return target.startsWith(root.endsWith(sep) ? root : root + sep) || dirname(target) === blobs
}

/**
 * Throws MalformedError where the file that is open under the name `path` is none of the folder: between the look at a
 * link and the opening it may have been turned elsewhere. What was opened is what the kernel says (proc(5), fd).
 */
export async function requireOpenInside(handle: FileHandle, path: string, bounds: FolderBounds): Promise<void> {
  const target = await readlink(`/proc/self/fd/${handle.fd}`)
  if (!isInside(target, bounds)) throw leavesFolder(path, target)
}

/** Throws MalformedError where `path`, a file of the folder, is a link that leaves it. */
export async function requireInside(path: string, bounds: FolderBounds): Promise<void> {
  if ((await insideTarget(path, bounds)) !== undefined) return
  throw leavesFolder(path, await realpath(path))
}

function leavesFolder(path: string, target: string): MalformedError {
  return fileFault(path, "symbolic link leaves the folder", {
    expected: "a file of the folder or a blob of the Hugging Face cache",
    found: quote(target),
    hint: "put the file itself in the folder, or name the file it points to",
  })
}
