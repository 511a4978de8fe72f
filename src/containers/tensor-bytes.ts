/**
 * The bytes of small tensors that describe others: a shape, a JSON text, a group of each column. Values of weights are
 * never read here; they are the native library's.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs"
import { IoError } from "../errors.ts"
import type { StoredTensor } from "./container.ts"
import { ioFault } from "./file.ts"
import { escapeText, quote, tensorFault } from "./quote.ts"

/**
 * All bytes of a tensor that has no business being larger than `sizeMax`. Throws MalformedError where it is, IoError
 * where the file has changed since its header was read or the system refuses.
 */
export function readTensorBytes(tensor: StoredTensor, sizeMax: number): Uint8Array {
  const { file, name, offset, size } = tensor
  if (size > sizeMax) {
    const values = { expected: `at most ${sizeMax} bytes`, found: `${size} bytes` }
    throw tensorFault(file.path, name, "is larger than such a tensor can be", values)
  }
  let descriptor: number | undefined
  try {
    descriptor = openSync(file.path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
    const { dev, ino, mtimeNs } = fstatSync(descriptor, { bigint: true })
    if (dev !== file.device || ino !== file.inode || mtimeNs !== file.mtimeNs) throw changed(tensor)
    const bytes = new Uint8Array(size)
    let done = 0
    while (done < size) {
      const count = readSync(descriptor, bytes, done, size - done, offset + done)
      if (count === 0) throw changed(tensor)
      done += count
    }
    return bytes
  } catch (error) {
    throw ioFault(file.path, error)
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}

function changed({ file, name }: StoredTensor): IoError {
  return new IoError(`${escapeText(file.path)}: tensor ${quote(name)}: the file changed while it was read`)
}
