/**
 * Opening files that someone else named. Only regular files are read: opening a FIFO would wait for a writer for
 * ever, and a device may do anything. What the system refuses becomes an IoError with the path and a plain reason.
 */
import { constants, type Stats } from "node:fs"
import { type FileHandle, open, stat } from "node:fs/promises"
import { IoError } from "../errors.ts"
import type { SourceFile } from "./container.ts"
import { escapeText, fileFault } from "./quote.ts"

const REASONS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EPERM: "permission denied",
  EISDIR: "is a folder, not a file",
  ELOOP: "too many symbolic links",
  EMFILE: "too many open files",
  ENFILE: "too many open files on this machine",
  ENAMETOOLONG: "name is too long",
  ENOENT: "no such file or folder",
  ENOTDIR: "a part of the path is not a folder",
  EIO: "the device failed to read",
  ENXIO: "no such device",
}

/** `code` of a system error; undefined for errors of another kind. */
export function errorCode(error: unknown): string | undefined {
  const code = error instanceof Error && "code" in error ? error.code : undefined
  return typeof code === "string" ? code : undefined
}

/** A failed system call as an IoError; other errors are returned as they are. */
export function ioFault(path: string, error: unknown): unknown {
  const code = errorCode(error)
  if (code === undefined || !/^E[A-Z0-9]+$/.test(code)) return error
  return new IoError(`${escapeText(path)}: ${REASONS[code] ?? `system error ${code}`}`, { cause: error })
}

type Kind = Pick<Stats, "isDirectory" | "isFIFO" | "isSocket" | "isCharacterDevice" | "isBlockDevice">

/** What a file is, for messages. */
export function fileKind(stats: Kind): string {
  if (stats.isDirectory()) return "a folder"
  if (stats.isFIFO()) return "a pipe"
  if (stats.isSocket()) return "a socket"
  if (stats.isCharacterDevice() || stats.isBlockDevice()) return "a device"
  return "a special file"
}

/** Throws where a file that is open must not be read; nothing of it has been read then. */
export type OpenCheck = (handle: FileHandle) => Promise<void>

/**
 * Opens a regular file, lets `use` read it, and closes it. `name` is what messages and outputs call the file within its
 * checkpoint. Throws MalformedError for anything that is not a regular file, IoError where the system refuses.
 */
export async function withFile<T>(
  path: string,
  name: string,
  use: (handle: FileHandle, file: SourceFile) => Promise<T>,
  allow?: OpenCheck,
): Promise<T> {
  let handle: FileHandle | undefined
  try {
    const before = await stat(path)
    if (!before.isFile()) throw notRegular(path, before)
    // The file may be replaced between the two calls: then O_NONBLOCK keeps a FIFO from blocking.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
    const stats = await handle.stat({ bigint: true })
    if (!stats.isFile()) throw notRegular(path, stats)
    await allow?.(handle)
    const size = Number(stats.size)
    return await use(handle, { path, name, size, device: stats.dev, inode: stats.ino, mtimeNs: stats.mtimeNs })
  } catch (error) {
    throw ioFault(path, error)
  } finally {
    await handle?.close()
  }
}

function notRegular(path: string, stats: Kind): unknown {
  const hint = "write it to a file first: its parts are read in any order"
  return fileFault(path, "cannot be read", { expected: "a regular file", found: fileKind(stats), hint })
}

/** What bytes are read from: an open file. */
export interface ByteReader {
  read(bytes: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>
}

/** `size` bytes from `offset`; throws IoError where the file has become shorter. */
export async function readExactly(handle: ByteReader, path: string, offset: number, size: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(size)
  let done = 0
  while (done < size) {
    const { bytesRead } = await handle.read(bytes, done, size - done, offset + done)
    if (bytesRead === 0) throw new IoError(`${escapeText(path)}: became shorter while it was read`)
    done += bytesRead
  }
  return bytes
}

/** All bytes of a regular file that has no business being larger than `sizeMax`. */
export async function readWhole(path: string, sizeMax: number): Promise<Uint8Array> {
  return await withFile(path, path, async (handle, file) => {
    if (file.size > sizeMax) {
      throw fileFault(path, "too large", { expected: `at most ${sizeMax} bytes`, found: `${file.size} bytes` })
    }
    return await readExactly(handle, path, 0, file.size)
  })
}
