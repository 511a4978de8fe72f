/**
 * Keeps two runs from writing one output. The lock is a file beside what is written, made with O_EXCL; it says who
 * holds it, so that the lock of a run that was killed is recognised and taken over, on this machine and in this
 * container only.
 */
import { readFileSync, readlinkSync } from "node:fs"
import { lstat, open, readFile, rm } from "node:fs/promises"
import { hostname } from "node:os"
import { basename, join } from "node:path"
import { errorCode, ioFault } from "../containers/file.ts"
import { escapeText } from "../containers/quote.ts"
import { RefusedError } from "../errors.ts"
import { RESERVED_PREFIX } from "../plan/conversion.ts"

interface LockedPlace {
  readonly kind: "file" | "folder"
  readonly path: string
  readonly folder: string
}

export interface Lock {
  /** The lock was left by a run that ended without cleaning up: what it wrote may still lie there. */
  readonly takenOver: boolean
  /** Gives the output free. */
  release(): Promise<void>
}

/** Who holds a lock. Two processes with the same text are the same process. */
interface Holder {
  readonly pid: number
  /** Clock ticks after boot at which the process started: a pid alone is used again. */
  readonly started: string
  readonly boot: string
  readonly host: string
  readonly namespace: string
}

/** Name of the lock file in the folder in which files are written. */
export function lockName(place: LockedPlace): string {
  return place.kind === "folder" ? `${RESERVED_PREFIX}.lock` : `${RESERVED_PREFIX}-${basename(place.path)}.lock`
}

/** True where a lock lies, be its holder alive or not. */
export async function isLocked(place: LockedPlace): Promise<boolean> {
  const path = join(place.folder, lockName(place))
  try {
    await lstat(path)
    return true
  } catch (error) {
    if (errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR") return false
    throw ioFault(path, error)
  }
}

/** Takes the lock. Throws RefusedError where another run holds it. */
export async function acquireLock(place: LockedPlace): Promise<Lock> {
  const path = join(place.folder, lockName(place))
  const text = JSON.stringify(currentHolder())
  const release = () => rm(path, { force: true })
  if (await create(path, text)) return { takenOver: false, release }
  const found = await read(path)
  if (found !== undefined && !isStale(found)) throw held(place, path, found)
  if (await takeOver(path, text)) return { takenOver: true, release }
  throw held(place, path, (await read(path)) ?? "")
}

/**
 * Puts a new lock in the place of a stale one. A second lock is held meanwhile, under which the first one is looked
 * at again: only its holder ever removes a lock that is not its own, so that of many runs that find the same stale
 * lock one gets it.
 */
async function takeOver(path: string, text: string): Promise<boolean> {
  const guard = `${path}.takeover`
  if (!(await create(guard, text))) return false
  try {
    const found = await read(path)
    if (found !== undefined && !isStale(found)) return false
    await rm(path, { force: true })
    return await create(path, text)
  } finally {
    await rm(guard, { force: true })
  }
}

async function read(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8")
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined
    throw ioFault(path, error)
  }
}

async function create(path: string, text: string): Promise<boolean> {
  try {
    const file = await open(path, "wx", 0o644)
    try {
      await file.writeFile(text)
    } catch (error) {
      await rm(path, { force: true })
      throw error
    } finally {
      await file.close()
    }
    return true
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false
    throw ioFault(path, error)
  }
}

function held(place: LockedPlace, path: string, text: string): RefusedError {
  const holder = parseHolder(text)
  const who = holder === undefined ? "" : ` (process ${holder.pid} on ${escapeText(holder.host)})`
  return new RefusedError(`${escapeText(place.path)}: another run is writing it${who}`, {
    hint: `if none is, remove ${escapeText(path)}*`,
  })
}

function currentHolder(): Holder {
  return {
    pid: process.pid,
    started: startTime(process.pid) ?? "",
    boot: readText("/proc/sys/kernel/random/boot_id"),
    host: hostname(),
    namespace: pidNamespace(),
  }
}

/** True only where the holder is known to be gone: a process of this namespace that has ended, or an earlier boot. */
function isStale(text: string): boolean {
  const holder = parseHolder(text)
  if (holder === undefined || holder.host !== hostname()) return false
  if (holder.boot !== readText("/proc/sys/kernel/random/boot_id")) return true
  return holder.namespace === pidNamespace() && startTime(holder.pid) !== holder.started
}

function parseHolder(text: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isHolder(value) ? value : undefined
  } catch {
    // A lock that is just being written is still empty; it is held.
    return undefined
  }
}

function isHolder(value: unknown): value is Holder {
  if (typeof value !== "object" || value === null) return false
  const fields = value as Record<string, unknown>
  return (
    typeof fields.pid === "number" &&
    ["started", "boot", "host", "namespace"].every((key) => typeof fields[key] === "string")
  )
}

/** Field 22 of /proc/<pid>/stat; undefined where there is no such process. */
function startTime(pid: number): string | undefined {
  const text = readText(`/proc/${pid}/stat`)
  // The second field is the program's name in parentheses, and may hold spaces itself.
  return text === "" ? undefined : text.slice(text.lastIndexOf(")") + 2).split(" ")[19]
}

function pidNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid")
  } catch {
    return ""
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8").trim()
  } catch {
    return ""
  }
}
