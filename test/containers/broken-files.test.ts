/** Each broken file of the list ends in its own clear error; each odd one is read. */
import { describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { openSafetensors } from "../../src/containers/safetensors.ts"
import { brokenFiles, oddFiles } from "../support/broken-files.ts"
import { expectFault } from "../support/broken-run.ts"
import { temporaryFolder } from "../support/checkpoints.ts"

describe("broken", () => {
  for (const input of brokenFiles) test(input.name, () => expectFault(input), 5000)
})

describe("odd and valid", () => {
  for (const [name, bytes] of Object.entries(oddFiles)) {
    test(name, async () => {
      using folder = temporaryFolder()
      const path = folder.file("x.safetensors")
      const content = bytes()
      writeFileSync(path, content)
      const { tensors, file, headerSize } = await openSafetensors(path)
      expect(file.size).toBe(content.length)
      const total = tensors.reduce((sum, tensor) => sum + tensor.size, 0)
      expect(headerSize + total).toBe(content.length)
    })
  }
})

describe("messages", () => {
  test("a hostile name is escaped and cut", async () => {
    using folder = temporaryFolder()
    const path = folder.file("x.safetensors")
    const name = `\u001b[31m\u202e${"x".repeat(100_000)}\n`
    const header = new TextEncoder().encode(
      JSON.stringify({ [name]: { dtype: "F13", shape: [], data_offsets: [0, 0] } }),
    )
    const bytes = new Uint8Array(8 + header.length)
    new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true)
    bytes.set(header, 8)
    writeFileSync(path, bytes)
    const fault: unknown = await openSafetensors(path).catch((error: unknown) => error)
    const message = fault instanceof Error ? fault.message : ""
    expect(message.length).toBeLessThan(folder.path.length + 400)
    expect(message).toStartWith(`${path}: tensor "\\x1b[31m\\u202exxx`)
    expect(message).toEndWith('xxx\\n" (100007 characters): unknown dtype (expected one of safetensors, found "F13")')
  })

  test("a truncated download is told so", async () => {
    using folder = temporaryFolder()
    const path = folder.file("x.safetensors")
    writeFileSync(path, oddFiles["F32 at an odd offset"]!().slice(0, -1))
    const fault: unknown = await openSafetensors(path).catch((error: unknown) => error)
    expect(fault).toMatchObject({ hint: "the file is cut off; download it again" })
  })
})
