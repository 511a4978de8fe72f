/** Temporary folders for gigabytes that are soon removed again. */
import { existsSync, mkdtempSync, rmSync, statfsSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ioFault } from "../containers/file.ts"
import { IoError } from "../errors.ts"
import { formatBytes } from "../format.ts"
import { machineInfo } from "../native/machine.ts"

/** A temporary folder, which goes at the end of `using` and, should the process end before, with it. */
export interface Room extends Disposable {
  readonly path: string
  /** Its files are in memory. */
  readonly tmpfs: boolean
}

export const SHARED_MEMORY = "/dev/shm"

/** Bytes that the file system of `path` has left for everybody. */
export function freeBytes(path: string): number {
  const { bavail, bsize } = statfsSync(path)
  return bavail * bsize
}

/** Room for `size` bytes: in memory where that is plentiful, else where TMPDIR says. Throws IoError. */
export function openRoom(size: number): Room {
  // Files there are memory: as much again has to remain for everything else.
  const tmpfs = existsSync(SHARED_MEMORY) && freeBytes(SHARED_MEMORY) > size && machineInfo().memoryAvailable > 2 * size
  const parent = tmpfs ? SHARED_MEMORY : tmpdir()
  try {
    if (!tmpfs && freeBytes(parent) < size) {
      throw new IoError(`${parent}: has no room for ${formatBytes(size)} of temporary files`, {
        hint: "TMPDIR names another folder",
      })
    }
    const path = mkdtempSync(join(parent, "dequantizer-bench-"))
    const remove = () => rmSync(path, { recursive: true, force: true })
    process.on("exit", remove)
    return {
      path,
      tmpfs,
      [Symbol.dispose]: () => {
        process.off("exit", remove)
        remove()
      },
    }
  } catch (error) {
    throw ioFault(parent, error)
  }
}
