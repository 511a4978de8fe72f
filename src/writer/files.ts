/** Small files of an output, written or copied under their temporary names and flushed: config, index, side files. */
import { type FileHandle, open } from "node:fs/promises"
import type { SideFile } from "../checkpoint/checkpoint.ts"
import { insideOpener } from "../checkpoint/links.ts"
import { errorCode, ioFault, withFile } from "../containers/file.ts"
import { escapeText } from "../containers/quote.ts"
import { IoError } from "../errors.ts"

/** What one read and write moves: large enough for a disk, small enough to stop at once. */
const CHUNK_SIZE = 4 * 2 ** 20
/** As any program writes a file that others may read; the umask narrows it. */
const MODE = 0o644

/** Writes a text file that must not exist yet. */
export async function writeText(path: string, text: string): Promise<void> {
  await createFile(path, async (handle) => {
    await handle.writeFile(text)
  })
}

/**
 * Copies a side file to a path that must not exist yet. `onChunk` is told the bytes of each chunk, and may throw to
 * stop. Throws IoError where the file is no longer as large as the plan has it, MalformedError where its name has come to
 * lead out of the folder.
 */
export async function copySideFile(file: SideFile, path: string, onChunk: (bytes: number) => void): Promise<void> {
  const copy = async (source: FileHandle) =>
    await createFile(path, async (target) => {
      const chunk = new Uint8Array(Math.min(CHUNK_SIZE, file.size + 1))
      let copied = 0
      for (;;) {
        const { bytesRead } = await source.read(chunk, 0, chunk.length, copied)
        if (bytesRead === 0) break
        await writeAll(target, chunk.subarray(0, bytesRead), copied)
        copied += bytesRead
        onChunk(bytesRead)
      }
      if (copied === file.size) return
      throw new IoError(
        `${escapeText(file.path)}: changed since it was listed (expected ${file.size} bytes, found ${copied})`,
        { hint: "run again when nothing writes to it" },
      )
    })
  await withFile(file.path, file.name, copy, insideOpener(file.bounds))
}

/** Flushes the entries of a folder: without it a crash may forget a file that was made, or a rename. */
export async function syncFolder(path: string): Promise<void> {
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

async function createFile(path: string, fill: (handle: FileHandle) => Promise<void>): Promise<void> {
  try {
    const handle = await open(path, "wx", MODE)
    try {
      await fill(handle)
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch (error) {
    throw ioFault(path, error)
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let written = 0
  while (written < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, written, bytes.length - written, position + written)
    written += bytesWritten
  }
}
