/**
 * The native library: opened once, at the first use, so that a command that needs none of it starts at once. From the
 * checkout it is zig-out/lib/libdequantizer.so; `bun build --compile` embeds that file.
 */
import { dlopen, type Library } from "bun:ffi"
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs"
import { join } from "node:path"
import libraryPath from "../../zig-out/lib/libdequantizer.so" with { type: "file" }
import { IoError } from "../errors.ts"
import { ABI_HASH, type Status, type StatusName, Status as statusNumbers, symbols } from "./abi.gen.ts"
import { createMemoryFile } from "./memory-file.ts"
import { enumName } from "./struct.ts"

export type NativeFunctions = Library<typeof symbols>["symbols"]

let functions: NativeFunctions | undefined

/** The functions of kernels/abi.zig. Throws IoError where the library cannot be opened. */
export function native(): NativeFunctions {
  functions ??= open(libraryPath)
  return functions
}

/** Opens the library at `path`; exported for the tests of its failures. */
export function open(path: string): NativeFunctions {
  const opened = openFile(path).symbols
  if (opened.dq_abi_hash() !== ABI_HASH) {
    throw new IoError(`${path}: the native library is of another version than the program`, {
      hint: "run `npm run build` (after a change of kernels/abi.zig: `zig build abi` first)",
    })
  }
  return opened
}

function openFile(path: string): Library<typeof symbols> {
  if (path.startsWith("/$bunfs/")) return openEmbedded(path)
  try {
    return dlopen(path, symbols)
  } catch (cause) {
    throw new IoError(`${path}: the native library cannot be opened: ${reasonOf(cause)}`, {
      hint: "run `npm run build`",
      cause,
    })
  }
}

/**
 * The library inside the executable, from memory; where the system allows no code from there, from a file that only
 * this user can have written. (What Bun itself would do is to share a file of a known name in the temporary folder with
 * whoever made it first.)
 */
function openEmbedded(path: string): Library<typeof symbols> {
  const bytes = readFileSync(path)
  const memory = createMemoryFile()
  if (memory !== undefined) {
    try {
      writeAll(memory, bytes)
      return dlopen(`/proc/self/fd/${memory}`, symbols)
    } catch {
      // No /proc, or a policy against it: the file below is the other way, and its failure is the one to tell.
    } finally {
      closeSync(memory)
    }
  }
  return openCopy(bytes)
}

/** From a file in a folder of its own, which goes as soon as it is open. Throws IoError. */
export function openCopy(bytes: Uint8Array): Library<typeof symbols> {
  let folder: string | undefined
  try {
    folder = mkdtempSync(join(temporaryFolder(), "dequantizer-"))
    const path = join(folder, "libdequantizer.so")
    const file = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o500)
    try {
      writeAll(file, bytes)
    } finally {
      closeSync(file)
    }
    return dlopen(path, symbols)
  } catch (cause) {
    requireCompiler(cause)
    throw new IoError(
      `${temporaryFolder()}: the native library cannot be opened from this temporary folder: ${reasonOf(cause)}`,
      {
        hint: "set BUN_TMPDIR to a writable folder that is not mounted noexec",
        cause,
      },
    )
  } finally {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * Calls into the library are compiled when it is opened. Where the process may not have the address space for that, Bun
 * runs without its compiler, and no other way of opening helps. Throws IoError then.
 */
function requireCompiler(cause: unknown): void {
  if (!reasonOf(cause).includes("requires the JIT")) return
  throw new IoError("the native library cannot be opened: the process may not have enough address space", {
    hint: "raise the limit of it (`ulimit -v`)",
    cause,
  })
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message.replaceAll(/\s+/g, " ") : String(cause)
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done)
}

/** Where an embedded library goes that cannot be opened from memory. */
export function temporaryFolder(): string {
  return process.env.BUN_TMPDIR || process.env.TMPDIR || "/tmp"
}

/** Name of a status that a call returned. */
export function statusName(value: number): StatusName {
  return enumName(statusNumbers, value)
}

/** For calls whose failure is a fault of ours: an assertion with the call's name. */
export function assertOk(call: keyof typeof symbols, value: number): void {
  if (value !== (statusNumbers.ok satisfies (typeof Status)["ok"])) {
    throw new Error(`${call} returned ${statusName(value)}`)
  }
}
