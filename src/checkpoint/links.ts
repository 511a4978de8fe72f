/**
 * Files of a checkpoint's folder, whose names a stranger has chosen. A symbolic link must not make the program read,
 * and so publish, a file from elsewhere on the machine. The one layout that lives of links is the Hugging Face cache:
 *
 *     models--org--name/snapshots/<revision>/model.safetensors -> ../../blobs/<hash>
 *
 * openat2(2) with RESOLVE_BENEATH would refuse these. Instead nothing is asked of a name that could lead elsewhere a moment
 * later: the name is resolved once, to a descriptor that cannot be read from (O_PATH), the kernel says where that file lies,
 * and it is this file that is then opened, not the name.
 */
import { lstat, open, readlink, realpath } from "node:fs/promises"
import { basename, dirname, join, sep } from "node:path"
import { ioFault, notRegular, type Opener, READ_FLAGS } from "../containers/file.ts"
import { fileFault, quote } from "../containers/quote.ts"

/** From asm-generic/fcntl.h; node:fs does not name it. Opens no FIFO and wakes no device. */
const O_PATH = 0o10000000

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
 * Opens files of the folder for reading, whatever links lead to them. Throws MalformedError for one that lies elsewhere or
 * is not regular.
 */
export function insideOpener(bounds: FolderBounds): Opener {
  return async (path) => {
    const found = await open(path, O_PATH)
    try {
      // proc(5): the file itself, by a link that does not look at names again.
      const file = `/proc/self/fd/${found.fd}`
      const target = await readlink(file)
      if (!isInside(target, bounds)) {
        throw fileFault(path, "symbolic link leaves the folder", {
          expected: "a file of the folder or a blob of the Hugging Face cache",
          found: quote(target),
          hint: "put the file itself in the folder, or name the file it points to",
        })
      }
      const stats = await found.stat()
      if (!stats.isFile()) throw notRegular(path, stats)
      return await open(file, READ_FLAGS)
    } finally {
      await found.close()
    }
  }
}

/**
 * Where a link of the folder leads; undefined where that is neither in the folder nor a blob. Files that are no links
 * stay. For lists: what is read is opened by `insideOpener`.
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
