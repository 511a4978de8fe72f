/**
 * Opening files that someone else named. Only regular files are read: opening a FIFO would wait for a writer for
 * ever, and a device may do anything. What the system refuses becomes an IoError with the path and a plain reason.
 */
import { constants, type Stats } from "node:fs"
import { type FileHandle, open, stat } from "node:fs/promises"
import { IoError, type MalformedError } from "../errors.ts"
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

const REASON_NOT_UTF8 = "no such file or folder; names that are not UTF-8 cannot be used: rename it"

/** Whether bytes of a name that are no UTF-8 may have been lost: the runtime puts U+FFFD in their place. */
export function isLossyName(name: string): boolean {
  return name.includes("\ufffd")
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
  const reason = code === "ENOENT" && isLossyName(path) ? REASON_NOT_UTF8 : (REASONS[code] ?? `system error ${code}`)
  return new IoError(`${escapeText(path)}: ${reason}`, { cause: error })
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

/** O_NONBLOCK: a FIFO that has come in the place of a file must not hold the program up. */
export const READ_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY

/** Opens a regular file for reading. Throws where there is none, or it must not be read. */
export type Opener = (path: string) => Promise<FileHandle>

/** Whatever the path leads to. Throws MalformedError for anything but a regular file, and what the system throws. */
export async function openRegular(path: string): Promise<FileHandle> {
  const stats = await stat(path)
  if (!stats.isFile()) throw notRegular(path, stats)
  return await open(path, READ_FLAGS)
}

/**
 * Opens a regular file, lets `use` read it, and closes it. `name` is what messages and outputs call the file within its
 * checkpoint. Throws MalformedError for anything that is not a regular file, IoError where the system refuses.
 */
export async function withFile<T>(
  path: string,
  name: string,
  use: (handle: FileHandle, file: SourceFile) => Promise<T>,
  opener: Opener = openRegular,
): Promise<T> {
  let handle: FileHandle | undefined
  try {
    handle = await opener(path)
    const stats = await handle.stat({ bigint: true })
    // It may have been replaced since the opener looked.
    if (!stats.isFile()) throw notRegular(path, stats)
    const size = Number(stats.size)
    return await use(handle, { path, name, size, device: stats.dev, inode: stats.ino, mtimeNs: stats.mtimeNs })
  } catch (error) {
    throw ioFault(path, error)
  } finally {
    await handle?.close()
  }
}

/** A MalformedError: only regular files are read. */
export function notRegular(path: string, stats: Kind): MalformedError {
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
export async function readWhole(path: string, sizeMax: number, opener?: Opener): Promise<Uint8Array> {
  const read = async (handle: FileHandle, file: SourceFile) => {
    if (file.size > sizeMax) {
      throw fileFault(path, "too large", { expected: `at most ${sizeMax} bytes`, found: `${file.size} bytes` })
    }
    return await readExactly(handle, path, 0, file.size)
  }
  return await withFile(path, path, read, opener)
}
