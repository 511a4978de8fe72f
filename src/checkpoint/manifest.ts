/**
 * manifest.json, which lists the hashes of an output's files and tensors: its name, and how to tell it from a file of
 * this name that something else has written. It says nothing of any other checkpoint, so it is never copied.
 */
import { readExactly, withFile } from "../containers/file.ts"

/** In a folder. */
export const MANIFEST_NAME = "manifest.json"
/** Behind the name of an output that is a file. */
export const MANIFEST_SUFFIX = ".manifest.json"
/** What each manifest begins with. */
export const MANIFEST_START = '{\n  "dequantizer": '

/** Whether a regular file is a manifest of this program. */
export async function isManifest(path: string): Promise<boolean> {
  return await withFile(path, path, async (handle, { size }) => {
    if (size < MANIFEST_START.length) return false
    return (
      new TextDecoder("latin1").decode(await readExactly(handle, path, 0, MANIFEST_START.length)) === MANIFEST_START
    )
  })
}
