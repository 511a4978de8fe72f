/** Checksums of whole files, summed up by native threads. */
import { stat } from "node:fs/promises"
import type { SourceFile } from "../containers/container.ts"
import { ioFault } from "../containers/file.ts"
import { encodeDigest } from "../plan/encode.ts"
import { runWork } from "./job.ts"
import type { WorkOptions } from "./types.ts"

/** Checksums as a run notes them (kernels/convert/seal.zig), in the order of the paths. Throws IoError, CancelledError. */
export async function checksumFiles(paths: readonly string[], options: WorkOptions): Promise<bigint[]> {
  if (paths.length === 0) return []
  const files = await Promise.all(paths.map(describeFile))
  const checksums = files.map(() => 0n)
  await runWork(
    encodeDigest(files),
    { kind: "digest", onFile: (i, { checksum }) => (checksums[i] = checksum) },
    options,
  )
  return checksums
}

async function describeFile(path: string): Promise<SourceFile> {
  try {
    const stats = await stat(path, { bigint: true })
    const { dev, ino, mtimeNs } = stats
    return { path, name: path, size: Number(stats.size), device: dev, inode: ino, mtimeNs }
  } catch (error) {
    throw ioFault(path, error)
  }
}
