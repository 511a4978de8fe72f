/**
 * manifest.json, which lists the hashes of an output's files and tensors: its name, and how to tell it from a file of
 * this name that something else has written. It says nothing of any other checkpoint, so it is never copied.
 */
import type { SourceFile } from "../containers/container.ts"
import { type ByteReader, type Opener, readExactly, withFile } from "../containers/file.ts"

/** In a folder. */
export const MANIFEST_NAME = "manifest.json"
/** Behind the name of an output that is a file. */
export const MANIFEST_SUFFIX = ".manifest.json"
/** What each manifest begins with. */
export const MANIFEST_START = '{\n  "dequantizer": '

/** Whether a regular file is a manifest of this program. */
export async function isManifest(path: string, opener?: Opener): Promise<boolean> {
  const begins = async (handle: ByteReader, { size }: SourceFile) => {
    if (size < MANIFEST_START.length) return false
    const start = await readExactly(handle, path, 0, MANIFEST_START.length)
    return new TextDecoder("latin1").decode(start) === MANIFEST_START
  }
  return await withFile(path, path, begins, opener)
}
