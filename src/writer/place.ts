/**
 * Where an output goes, examined before anything is written: it must not be the input, not lie in it, not take the
 * place of something unasked, and its device must have room. Names are resolved once, here; all later work uses the
 * real path.
 */
import { constants, type Stats, type StatsFs } from "node:fs"
import { access, lstat, readdir, realpath, stat, statfs } from "node:fs/promises"
import { basename, dirname, join, resolve } from "node:path"
import { MANIFEST_NAME, MANIFEST_SUFFIX } from "../checkpoint/manifest.ts"
import { errorCode, fileKind, ioFault } from "../containers/file.ts"
import { escapeText } from "../containers/quote.ts"
import { IoError, RefusedError, UsageError } from "../errors.ts"
import { formatBytesExact } from "../format.ts"
import { outputNames } from "../plan/describe.ts"
import type { OutputShard, Plan } from "../plan/plan.ts"
import type { RunPlace } from "./run-files.ts"

/** `path` is real; `folder` is where files get their names: the output itself, or the folder of the output file. */
export interface OutputPlace extends RunPlace {
  /** Names of the files in `folder`, in the order in which they get them. */
  readonly names: readonly string[]
  /** The output was there when it was resolved: the folder, or the file. */
  readonly exists: boolean
}

/** Name of a shard's file in the output's folder: that of the output where it is a file. */
export function shardFile({ kind, names }: OutputPlace, shard: Pick<OutputShard, "name">): string {
  return kind === "file" ? names.at(-1)! : shard.name
}

/**
 * Finds the real place of an output, which has a manifest or has none, and refuses what could harm the input. Throws
 * RefusedError, IoError, UsageError.
 */
export async function resolveOutput(plan: Plan, output: string, manifest = false): Promise<OutputPlace> {
  if (output === "") throw new UsageError("the output has no name")
  const named = resolve(output)
  const present = await lstatOrUndefined(named)
  const found = present === undefined ? await newPlace(plan, named) : await presentPlace(plan, named, present)
  const place = manifest ? withManifest(found) : found
  await refuseInput(plan, place)
  return place
}

/** The manifest is the first to get its name: what makes an output complete stays the last. */
function withManifest(place: OutputPlace): OutputPlace {
  const name = manifestName(place)
  return { ...place, names: [name, ...place.names.filter((other) => other !== name)] }
}

/** Name of the manifest in the output's folder. */
export function manifestName({ kind, path }: Pick<OutputPlace, "kind" | "path">): string {
  return kind === "folder" ? MANIFEST_NAME : basename(path) + MANIFEST_SUFFIX
}

async function newPlace(plan: Plan, named: string): Promise<OutputPlace> {
  const parent = await realParent(named)
  const path = join(parent, basename(named))
  return plan.kind === "folder"
    ? { kind: "folder", path, folder: path, names: outputNames(plan), exists: false }
    : { kind: "file", path, folder: parent, names: [basename(path)], exists: false }
}

async function presentPlace(plan: Plan, named: string, present: Stats): Promise<OutputPlace> {
  const shown = escapeText(named)
  if (plan.kind === "folder") {
    // A link to a folder is a common way to another disk; what it leads to is the output.
    const target = await stat(named).catch((error: unknown) => {
      throw new RefusedError(`${shown}: is a symbolic link that leads nowhere`, { cause: error })
    })
    if (!target.isDirectory())
      throw new RefusedError(`${shown}: exists and is no folder: a folder in gives a folder out`)
    const path = await realpath(named)
    return { kind: "folder", path, folder: path, names: outputNames(plan), exists: true }
  }
  if (present.isDirectory()) {
    throw new RefusedError(`${shown}: is a folder: a file in gives a file out`, { hint: "name a file in it" })
  }
  if (present.isSymbolicLink()) {
    throw new RefusedError(`${shown}: is a symbolic link`, { hint: "name the file that it leads to" })
  }
  if (!present.isFile()) throw new RefusedError(`${shown}: is ${fileKind(present)}, not a regular file`)
  const parent = await realParent(named)
  const path = join(parent, basename(named))
  return { kind: "file", path, folder: parent, names: [basename(path)], exists: true }
}

async function realParent(named: string): Promise<string> {
  const parent = dirname(named)
  const real = await realpath(parent).catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") {
      throw new IoError(`${escapeText(parent)}: no such folder`, { hint: "make it first: mkdir -p", cause: error })
    }
    throw ioFault(parent, error)
  })
  if (!(await stat(real)).isDirectory()) throw new IoError(`${escapeText(parent)}: is no folder`)
  return real
}

/** By path, link and inode; a bind mount of the input is the input as well. */
async function refuseInput(plan: Plan, place: OutputPlace): Promise<void> {
  const { checkpoint } = plan
  const shown = escapeText(place.path)
  if (plan.kind === "folder" && checkpoint.kind === "file") {
    if ((await identity(place.path)) === (await identity(checkpoint.folder))) {
      throw new RefusedError(`${shown}: the output is the folder of the input`, { hint: "name a folder in it" })
    }
  }
  if (checkpoint.kind === "folder") {
    const input = await identity(checkpoint.folder)
    for (const folder of ancestors(place.path)) {
      if ((await identity(folder)) !== input) continue
      const relation = folder === place.path ? "is the input itself" : "lies inside the input folder"
      throw new RefusedError(`${shown}: the output ${relation}`, { hint: "name another folder" })
    }
  }
  const sources = new Map<string, string>()
  for (const path of inputFiles(plan)) {
    const id = await identity(path)
    if (id !== undefined) sources.set(id, path)
  }
  for (const name of place.names) {
    const id = await identity(join(place.folder, name))
    const source = id === undefined ? undefined : sources.get(id)
    if (source === undefined) continue
    throw new RefusedError(`${escapeText(join(place.folder, name))}: is the input file ${escapeText(source)}`, {
      hint: "name another output",
    })
  }
}

function inputFiles({ checkpoint }: Plan): string[] {
  return [
    ...checkpoint.shards.map((shard) => shard.file.path),
    ...checkpoint.sideFiles.map((file) => file.path),
    ...(checkpoint.index === undefined ? [] : [checkpoint.index.path]),
    join(checkpoint.folder, "config.json"),
  ]
}

/** The path and all folders above it. */
function ancestors(path: string): string[] {
  const parent = dirname(path)
  return parent === path ? [path] : [path, ...ancestors(parent)]
}

/** Device and inode of what the path leads to; undefined where there is nothing. */
async function identity(path: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await stat(path, { bigint: true })
    return `${dev}:${ino}`
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined
    throw ioFault(path, error)
  }
}

/**
 * Refuses an output that is there at this moment, which may be after `place` was resolved: another run may have finished
 * meanwhile. `ours` are names that do not count, because this run or one that was killed made them. Even with force a
 * folder is never replaced by a file.
 */
export async function refuseExisting(place: OutputPlace, force: boolean, ours: ReadonlySet<string>): Promise<void> {
  if (force) {
    for (const name of place.names) {
      const present = await lstatOrUndefined(join(place.folder, name))
      if (present?.isDirectory()) throw new RefusedError(`${escapeText(join(place.folder, name))}: is a folder`)
    }
    return
  }
  if (place.kind === "file") {
    for (const name of place.names) {
      const path = join(place.folder, name)
      if ((await lstatOrUndefined(path)) === undefined) continue
      throw new RefusedError(`${escapeText(path)}: exists`, { hint: "--force replaces it" })
    }
    return
  }
  if ((await lstatOrUndefined(place.path)) === undefined) return
  const found = (await readdir(place.path)).filter((name) => !ours.has(name))
  if (found.length === 0) return
  throw new RefusedError(`${escapeText(place.path)}: exists and is not empty`, {
    hint: "--force replaces the checkpoint in it",
  })
}

/** Throws IoError where files cannot be made in the output's folder (of a new folder: in its parent). */
export async function requireWritable(place: OutputPlace): Promise<void> {
  const folder = place.exists ? place.folder : dirname(place.path)
  try {
    await access(folder, constants.W_OK | constants.X_OK)
  } catch (error) {
    const code = errorCode(error)
    if (code === "EROFS") throw new IoError(`${escapeText(folder)}: the file system is read-only`, { cause: error })
    if (code === "EACCES") throw new IoError(`${escapeText(folder)}: no permission to write`, { cause: error })
    throw ioFault(folder, error)
  }
}

/** Throws IoError with the figures where the device has less than `bytes` free. */
export async function requireSpace(place: OutputPlace, bytes: number): Promise<void> {
  const free = await freeBytes(place.folder)
  if (free >= bytes) return
  throw new IoError(
    `${escapeText(place.path)}: not enough space (${formatBytesExact(bytes)} needed, ${formatBytesExact(free)} free)`,
    { hint: "choose another device, or a narrower --to" },
  )
}

/** Bytes that this user may still write on the device of a path; the nearest folder above it that exists counts. */
export async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfsAbove(path)
  return bavail * bsize
}

/** The magic number (statfs(2)) of the file system that holds a path, or will when the path exists. */
export async function fileSystemOf(path: string): Promise<number> {
  return (await statfsAbove(path)).type
}

async function statfsAbove(path: string): Promise<StatsFs> {
  for (const folder of ancestors(resolve(path))) {
    try {
      return await statfs(folder)
    } catch (error) {
      if (errorCode(error) !== "ENOENT" && errorCode(error) !== "ENOTDIR") throw ioFault(folder, error)
    }
  }
  throw new IoError(`${escapeText(path)}: no such folder`)
}

/** undefined where there is nothing; of a link itself. Throws IoError. */
export async function lstatOrUndefined(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path)
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined
    throw ioFault(path, error)
  }
}
