/** The copy of the library that is opened where memory cannot be: it leaves nothing behind. */
import { afterEach, beforeEach, expect, test } from "bun:test"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { IoError } from "../../src/errors.ts"
import { ABI_HASH } from "../../src/native/abi.gen.ts"
import { openCopy } from "../../src/native/library.ts"
import { createMemoryFile } from "../../src/native/memory-file.ts"
import { type TemporaryFolder, temporaryFolder } from "../support/checkpoints.ts"

const bytes = readFileSync(join(import.meta.dir, "../../zig-out/lib/libdequantizer.so"))
const before = process.env.BUN_TMPDIR
let folder: TemporaryFolder

beforeEach(() => {
  folder = temporaryFolder()
  process.env.BUN_TMPDIR = folder.path
})
afterEach(() => {
  folder[Symbol.dispose]()
  if (before === undefined) delete process.env.BUN_TMPDIR
  else process.env.BUN_TMPDIR = before
})

test("a copy works, and is gone when it is open", () => {
  expect(openCopy(bytes).symbols.dq_abi_hash()).toBe(ABI_HASH)
  expect(readdirSync(folder.path)).toEqual([])
})

test("a folder that is absent, and bytes that are no library, are told with the way out", () => {
  expect(() => openCopy(new Uint8Array(100))).toThrow(/cannot be opened from this temporary folder/)
  expect(readdirSync(folder.path)).toEqual([])
  process.env.BUN_TMPDIR = folder.file("absent")
  expect(() => openCopy(bytes)).toThrow(IoError)
})

test("files in memory differ from each other", () => {
  expect(createMemoryFile()).toBeGreaterThan(2)
})
