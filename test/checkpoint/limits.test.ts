/** What large and hostile headers may cost. */
import { describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { openSafetensors } from "../../src/containers/safetensors.ts"
import { MalformedError } from "../../src/errors.ts"
import { fileBytes } from "../support/broken-files.ts"
import { temporaryFolder } from "../support/checkpoints.ts"

/** A header of `size` bytes or a little less, of tensors without elements. */
function longHeader(size: number, prefix: string): Uint8Array {
  const entries: string[] = []
  const one = (i: number) => `"${prefix}.layers.${i}.weight":{"dtype":"BF16","shape":[0,4096],"data_offsets":[0,0]}`
  for (let length = 2, i = 0; ; i += 1) {
    const entry = one(i)
    length += entry.length + 1
    if (length > size) break
    entries.push(entry)
  }
  return fileBytes(`{${entries.join(",")}}`)
}

describe("headers", () => {
  test("one of 100 MB with a million tensors is read", async () => {
    using folder = temporaryFolder()
    const path = folder.file("x.safetensors")
    const bytes = longHeader(100_000_000, "model")
    writeFileSync(path, bytes)
    const { tensors, headerSize } = await openSafetensors(path)
    expect(headerSize).toBeGreaterThan(99_000_000)
    expect(tensors.length).toBeGreaterThan(1_000_000)
    console.log(`header of ${headerSize} bytes with ${tensors.length} tensors read`)
  }, 60_000)

  test("several that are too long together are refused", async () => {
    using folder = temporaryFolder()
    // White space is as good as anything, and quickly read.
    const text = `{}${" ".repeat(99_999_990)}`
    for (let i = 0; i < 6; i += 1) writeFileSync(folder.file(`x-${i}.safetensors`), fileBytes(text))
    const opening = openCheckpoint(folder.path)
    await expect(opening).rejects.toThrow(MalformedError)
    await expect(opening).rejects.toThrow(/headers of the shards are too long together/)
  }, 60_000)
})
