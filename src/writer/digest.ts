/** Checksums and hashes of files, summed up by native threads. */
import { stat } from "node:fs/promises"
import type { SourceFile } from "../containers/container.ts"
import { fileKind, ioFault } from "../containers/file.ts"
import { fileFault } from "../containers/quote.ts"
import { type ByteRange, encodeDigest } from "../plan/encode.ts"
import { runWork } from "./job.ts"
import type { WorkOptions } from "./types.ts"

/** BLAKE3 of no bytes. */
export const EMPTY_HASH = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"

/** Checksums as a run notes them (kernels/convert/seal.zig), in the order of the paths. Throws IoError, CancelledError. */
export async function checksumFiles(paths: readonly string[], options: WorkOptions): Promise<bigint[]> {
  if (paths.length === 0) return []
  const files = await Promise.all(paths.map(describeFile))
  const checksums = files.map(() => 0n)
  const plan = encodeDigest(files.map((file) => ({ file, parts: [{ offset: 0, size: file.size }] })))
  await runWork(plan, { kind: "digest", onFile: (i, { checksum }) => (checksums[i] = checksum) }, options)
  return checksums
}

export interface HashedFile {
  readonly size: number
  /** BLAKE3 in hex. */
  readonly hash: string
  /** Of each part that was asked for, in its order. */
  readonly parts: readonly string[]
}

/** A file, and the parts of it that get hashes of their own. */
export interface FileParts {
  readonly path: string
  /** In the order of their offsets, without overlaps. Parts that lie beyond the end of the file have no hash (""). */
  readonly parts: readonly ByteRange[]
}

/** BLAKE3 of files and of parts of them, each byte read once. Throws IoError, MalformedError for what is no file. */
export async function hashFiles(requests: readonly FileParts[], options: WorkOptions): Promise<HashedFile[]> {
  const files = await Promise.all(requests.map(({ path }) => describeFile(path)))
  const hashes = files.map(() => EMPTY_HASH)
  const readable = requests.map(({ parts }, i) => parts.filter((part) => part.offset + part.size <= files[i]!.size))
  const plan = encodeDigest(files.map((file, i) => ({ file, parts: withGaps(readable[i]!, file.size) })))
  const work = {
    kind: "digest",
    hashes: true,
    onFile: (i: number, { hash }: { hash: string }) => (hashes[i] = hash),
  } as const
  const { stepHashes } = await runWork(plan, work, options)
  let step = 0
  return requests.map(({ parts }, i) => {
    const { size } = files[i]!
    const byOffset = new Map<number, string>()
    for (const part of withGaps(readable[i]!, size)) byOffset.set(part.offset, stepHashes[step++]!)
    const hashOf = (part: ByteRange) => {
      if (part.offset + part.size > size) return ""
      return part.size === 0 ? EMPTY_HASH : byOffset.get(part.offset)!
    }
    return { size, hash: hashes[i]!, parts: parts.map(hashOf) }
  })
}

/** The parts and what lies before, between and after them. */
function withGaps(parts: readonly ByteRange[], size: number): ByteRange[] {
  const all: ByteRange[] = []
  let position = 0
  for (const part of parts) {
    if (part.size === 0) continue
    if (part.offset > position) all.push({ offset: position, size: part.offset - position })
    all.push(part)
    position = part.offset + part.size
  }
  if (position < size) all.push({ offset: position, size: size - position })
  return all
}

async function describeFile(path: string): Promise<SourceFile> {
  try {
    const stats = await stat(path, { bigint: true })
    if (!stats.isFile()) {
      throw fileFault(path, "cannot be read", { expected: "a regular file", found: fileKind(stats) })
    }
    const { dev, ino, mtimeNs } = stats
    return { path, name: path, size: Number(stats.size), device: dev, inode: ino, mtimeNs }
  } catch (error) {
    throw ioFault(path, error)
  }
}
