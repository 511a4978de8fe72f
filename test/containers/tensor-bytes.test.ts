/** Small tensors read for what they say: the right bytes, and none of a file that is no longer the one that was opened. */
import { expect, test } from "bun:test"
import { truncateSync, utimesSync, writeFileSync } from "node:fs"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { readTensorBytes } from "../../src/containers/tensor-bytes.ts"
import { IoError, MalformedError } from "../../src/errors.ts"
import { safetensorsBytes, type TemporaryFolder, temporaryFolder } from "../support/checkpoints.ts"

async function shapeTensor(folder: TemporaryFolder) {
  const path = folder.file("model.safetensors")
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => i)
  writeFileSync(path, safetensorsBytes([{ name: "m.shape", dtype: "I64", shape: [2], bytes }]))
  return (await openCheckpoint(path)).tensors.get("m.shape")!
}

test("all bytes of the tensor", async () => {
  using folder = temporaryFolder()
  expect([...readTensorBytes(await shapeTensor(folder), 16)]).toEqual(Array.from({ length: 16 }, (_, i) => i))
})

test("a tensor that is too large is a fault of the file", async () => {
  using folder = temporaryFolder()
  const tensor = await shapeTensor(folder)
  expect(() => readTensorBytes(tensor, 15)).toThrow(MalformedError)
  expect(() => readTensorBytes(tensor, 15)).toThrow(/"m.shape".*expected at most 15 bytes, found 16 bytes/)
})

test("a file that was touched, cut or removed since is an I/O fault", async () => {
  using folder = temporaryFolder()
  const tensor = await shapeTensor(folder)
  truncateSync(tensor.file.path, 40)
  expect(() => readTensorBytes(tensor, 16)).toThrow(IoError)
  const other = await shapeTensor(folder)
  utimesSync(other.file.path, 1, 1)
  expect(() => readTensorBytes(other, 16)).toThrow(/tensor "m.shape": the file changed while it was read/)
  const gone = { ...other, file: { ...other.file, path: folder.file("gone") } }
  expect(() => readTensorBytes(gone, 16)).toThrow(/no such file/)
})
