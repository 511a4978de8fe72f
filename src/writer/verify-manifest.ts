/** Checking an output against its manifest: every byte of every file, hashed by native threads. */
import { readdir, stat } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { MANIFEST_NAME, MANIFEST_SUFFIX } from "../checkpoint/manifest.ts"
import { errorCode, ioFault } from "../containers/file.ts"
import { escapeText, quote } from "../containers/quote.ts"
import { IoError } from "../errors.ts"
import { type HashedFile, hashFiles } from "./digest.ts"
import { type ManifestFile, readManifest } from "./manifest.ts"
import type { WorkOptions } from "./types.ts"

export interface ManifestCheck {
  readonly files: number
  readonly tensors: number
  readonly bytes: number
  /** Sentences on what differs; none: all is as the manifest says. */
  readonly problems: readonly string[]
}

/** Hashes that tell two apart at a glance. */
const HASH_SHOWN = 16

/** Throws IoError where there is no manifest or a file cannot be read, MalformedError for a manifest that is none. */
export async function checkManifest(output: string, options: WorkOptions): Promise<ManifestCheck> {
  const { folder, path, names } = await locate(output)
  const files = await readManifest(path)
  const present = await sizesOf(folder, files)
  const readable = files.filter(({ name, size }) => present.get(name) === size)
  const requests = readable.map(({ name, tensors }) => ({ path: join(folder, name), parts: disjoint(tensors) }))
  const hashed = await hashFiles(requests, options)
  const problems = [
    ...files.flatMap((file) => sizeProblem(file, present.get(file.name))),
    ...readable.flatMap((file, i) => hashProblems(file, hashed[i]!)),
    ...names.filter((name) => !files.some((file) => file.name === name)).map(unlisted),
  ]
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
  return {
    files: files.length,
    tensors: sum(files.map(({ tensors }) => tensors.length)),
    bytes: sum(hashed.map(({ size }) => size)),
    problems,
  }
}

/** The manifest of an output, and the weights that lie beside it. */
async function locate(output: string): Promise<{ folder: string; path: string; names: readonly string[] }> {
  try {
    const isFolder = (await stat(output)).isDirectory()
    const folder = isFolder ? output : dirname(output)
    const path = isFolder ? join(output, MANIFEST_NAME) : `${output}${MANIFEST_SUFFIX}`
    const names = isFolder
      ? (await readdir(output)).filter((name) => name.endsWith(".safetensors"))
      : [basename(output)]
    await stat(path).catch((error: unknown) => {
      if (errorCode(error) !== "ENOENT") throw error
      throw new IoError(`${escapeText(path)}: no such file`, { hint: "convert --manifest writes one" })
    })
    return { folder, path, names }
  } catch (error) {
    throw ioFault(output, error)
  }
}

async function sizesOf(folder: string, files: readonly ManifestFile[]): Promise<Map<string, number>> {
  const sizes = new Map<string, number>()
  for (const { name } of files) {
    try {
      const stats = await stat(join(folder, name))
      if (stats.isFile()) sizes.set(name, stats.size)
    } catch (error) {
      if (errorCode(error) !== "ENOENT" && errorCode(error) !== "ENOTDIR") throw ioFault(join(folder, name), error)
    }
  }
  return sizes
}

/** Parts must not overlap; a manifest that says so is told by the hash of the whole file. */
function disjoint(tensors: ManifestFile["tensors"]): ManifestFile["tensors"] {
  let end = 0
  const isDisjoint = tensors.every(({ offset, size }) => {
    const follows = offset >= end
    end = offset + size
    return follows
  })
  return isDisjoint ? tensors : []
}

function sizeProblem({ name, size }: ManifestFile, found: number | undefined): string[] {
  if (found === undefined) return [`file ${quote(name)} is missing`]
  return found === size ? [] : [`file ${quote(name)} has another size (expected ${size} bytes, found ${found})`]
}

function hashProblems({ name, hash, tensors }: ManifestFile, found: HashedFile): string[] {
  if (found.hash === hash && found.parts.length === tensors.length) {
    return tensors.flatMap((tensor, i) => tensorProblem(name, tensor, found.parts[i]!))
  }
  const damaged = found.parts.flatMap((part, i) => tensorProblem(name, tensors[i]!, part))
  if (damaged.length > 0) return damaged
  const what = tensors.length > 0 ? "differs from the manifest before its tensors" : "differs from the manifest"
  return [`file ${quote(name)} ${what} ${hashesText(hash, found.hash)}`]
}

function tensorProblem(file: string, { name, hash }: ManifestFile["tensors"][number], found: string): string[] {
  if (found === hash) return []
  return [`file ${quote(file)}: tensor ${quote(name)} differs from the manifest ${hashesText(hash, found)}`]
}

function hashesText(expected: string, found: string): string {
  return `(BLAKE3 expected ${expected.slice(0, HASH_SHOWN)}…, found ${found.slice(0, HASH_SHOWN)}…)`
}

function unlisted(name: string): string {
  return `file ${quote(name)} is not in the manifest`
}
