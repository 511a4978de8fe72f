/**
 * Keeps two runs from writing one output. Runs of its parts share the output's lock, and each holds that of its part; a
 * run of the whole, and the finishing of parts, hold the output's alone. The lock is the kernel's (flock) on a file beside what is written, so it ends
 * with the process that holds it, by whatever death and on whatever machine or in whatever container that was: nobody
 * has to judge whether a holder still lives. A file that lies there unlocked was left by a run that was killed.
 *
 * On file systems without flock (some network and FUSE mounts) runs go on unlocked: there nothing keeps two runs from
 * writing one output at once.
 */
import { constants, type Stats } from "node:fs"
import { type FileHandle, lstat, open, rm } from "node:fs/promises"
import { hostname } from "node:os"
import { join } from "node:path"
import { errorCode, fileKind, ioFault } from "../containers/file.ts"
import { escapeText } from "../containers/quote.ts"
import { IoError, RefusedError } from "../errors.ts"
import { describeErrno } from "../native/errno.ts"
import { type FlockMode, tryFlock } from "../native/flock.ts"
import { partText } from "../plan/part.ts"
import { type RunPlace, runFileName } from "./run-files.ts"

export interface Lock {
  /** The lock file was left by a run that ended without cleaning up: what it wrote may still lie there. */
  readonly takenOver: boolean
  /** Gives the output free. */
  release(): Promise<void>
}

/** What a lock file says, for the message of a run that is refused; nothing else depends on it. */
interface Holder {
  readonly pid: number
  readonly host: string
}

/** Another run holds the lock. */
export class LockHeldError extends RefusedError {}

/** Each further attempt needs another run that has released the lock in the middle of the last one. */
const ATTEMPTS_MAX = 100
/** Far more than a holder needs: a host name has at most 64 bytes. */
const HOLDER_SIZE_MAX = 1024

/** Name of the lock file in the folder in which files are written: of the output, or of the part of it. */
export function lockName(place: RunPlace): string {
  return runFileName(place, "lock")
}

/** True where a lock file lies: a run is writing the output, or one was killed and what it left is to be recovered. */
export async function hasLockFile(place: RunPlace): Promise<boolean> {
  const path = join(place.folder, lockName(place))
  try {
    await lstat(path)
    return true
  } catch (error) {
    if (errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR") return false
    throw ioFault(path, error)
  }
}

/**
 * Takes the lock. Throws RefusedError where another run holds it or where its name belongs to something that this
 * program did not make, IoError where the system refuses.
 */
export async function acquireLock(place: RunPlace, mode: FlockMode = "exclusive"): Promise<Lock> {
  const path = join(place.folder, lockName(place))
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    const lock = await tryAcquire(place, path, mode)
    if (lock !== undefined) return lock
  }
  throw refusal(place, undefined)
}

/** Undefined where the file that was opened is not the lock any more, because its holder has just removed it. */
async function tryAcquire(place: RunPlace, path: string, mode: FlockMode): Promise<Lock | undefined> {
  let file: FileHandle | undefined
  let held = false
  try {
    const made = await openLockFile(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL)
    file = made ?? (await openLockFile(path, constants.O_RDWR))
    if (file === undefined) return undefined
    const result = tryFlock(file.fd, mode)
    if (result === "held") throw refusal(place, await readHolder(file))
    if (typeof result === "object") {
      throw new IoError(`${escapeText(path)}: cannot be locked: ${describeErrno(result.errno).text}`)
    }
    const stats = await file.stat()
    if (!(await isNamed(path, stats))) return undefined
    requireOwn(path, stats)
    if (mode === "exclusive") await writeHolder(file)
    held = true
    // Between the making and the locking of this file another run may have locked it, written its name and died.
    return { takenOver: made === undefined || stats.size > 0, release: () => release(path, file!, stats, mode) }
  } catch (error) {
    throw ioFault(path, error)
  } finally {
    if (!held) await file?.close()
  }
}

/**
 * Undefined where O_EXCL finds a file, and where without it there is none. No link is followed, and a pipe does not
 * block. (Bun opens with O_CLOEXEC: no child process keeps the lock.)
 */
async function openLockFile(path: string, flags: number): Promise<FileHandle | undefined> {
  try {
    return await open(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0o644)
  } catch (error) {
    const code = errorCode(error)
    if (code === "EEXIST" || (code === "ENOENT" && !(flags & constants.O_CREAT))) return undefined
    if (code === "ELOOP") throw new RefusedError(`${escapeText(path)}: is a symbolic link, not a lock file`)
    // Another user's file: to lock it, reading is enough.
    if (code === "EACCES" && flags === constants.O_RDWR) return await openLockFile(path, constants.O_RDONLY)
    throw error
  }
}

/** A lock file is written and removed: what is not one, or has a second name under which it is kept, is left alone. */
function requireOwn(path: string, stats: Stats): void {
  if (!stats.isFile()) throw new RefusedError(`${escapeText(path)}: is ${fileKind(stats)}, not a lock file`)
  if (stats.nlink > 1) throw new RefusedError(`${escapeText(path)}: is a hard link to another file, not a lock file`)
}

/**
 * The file is removed while it is locked: who opens it before finds out in `isNamed`, who comes later makes another. Of
 * those that share it the last one removes it.
 */
async function release(path: string, file: FileHandle, stats: Stats, mode: FlockMode): Promise<void> {
  try {
    const isAlone = mode === "exclusive" || tryFlock(file.fd) === "locked"
    // Somebody may have removed it by hand, and another run have made its own.
    if (isAlone && (await isNamed(path, stats))) await rm(path, { force: true })
  } catch (error) {
    throw ioFault(path, error)
  } finally {
    await file.close()
  }
}

/** The path still leads to the file of `stats`. */
async function isNamed(path: string, { dev, ino }: Stats): Promise<boolean> {
  try {
    const named = await lstat(path)
    return named.dev === dev && named.ino === ino
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false
    throw error
  }
}

function refusal(place: RunPlace, holder: Holder | undefined): LockHeldError {
  const who = holder === undefined ? "" : ` (process ${holder.pid} on ${escapeText(holder.host)})`
  const what = place.part === undefined ? "it" : `part ${partText(place.part)} of it`
  return new LockHeldError(`${escapeText(place.path)}: another run is writing ${what}${who}`)
}

async function writeHolder(file: FileHandle): Promise<void> {
  const holder: Holder = { pid: process.pid, host: hostname() }
  try {
    await file.truncate(0)
    await file.write(JSON.stringify(holder), 0)
  } catch {
    // The file may be read-only or the disk full. The lock holds without the text.
  }
}

/** Undefined where the text is not, or not yet, that of a holder. */
async function readHolder(file: FileHandle): Promise<Holder | undefined> {
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(HOLDER_SIZE_MAX), 0, HOLDER_SIZE_MAX, 0)
    const value: unknown = JSON.parse(new TextDecoder().decode(buffer.subarray(0, bytesRead)))
    return isHolder(value) ? value : undefined
  } catch {
    return undefined
  }
}

function isHolder(value: unknown): value is Holder {
  if (typeof value !== "object" || value === null) return false
  const fields = value as Record<string, unknown>
  return Number.isSafeInteger(fields.pid) && typeof fields.host === "string"
}
