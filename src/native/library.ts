/**
 * The native library: opened once, at the first use, so that a command that needs none of it starts at once. From the
 * checkout it is zig-out/lib/libdequantizer.so; `bun build --compile` embeds that file, and Bun extracts it to a temporary
 * folder when it is opened.
 */
import { dlopen, type Library } from "bun:ffi"
import libraryPath from "../../zig-out/lib/libdequantizer.so" with { type: "file" }
import { IoError } from "../errors.ts"
import { ABI_HASH, type Status, type StatusName, Status as statusNumbers, symbols } from "./abi.gen.ts"
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
  const opened = openFile(path)
  if (opened.dq_abi_hash() !== ABI_HASH) {
    throw new IoError(`${path}: the native library is of another version than the program`, {
      hint: "run `npm run build` (after a change of kernels/abi.zig: `zig build abi` first)",
    })
  }
  return opened
}

function openFile(path: string): NativeFunctions {
  try {
    return dlopen(path, symbols).symbols
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.replaceAll(/\s+/g, " ") : String(cause)
    if (!path.startsWith("/$bunfs/")) {
      throw new IoError(`${path}: the native library cannot be opened: ${reason}`, {
        hint: "run `npm run build`",
        cause,
      })
    }
    throw new IoError(
      `${temporaryFolder()}: the native library cannot be opened from this temporary folder: ${reason}`,
      {
        hint: "set BUN_TMPDIR to a writable folder that is not mounted noexec",
        cause,
      },
    )
  }
}

/** Where Bun extracts an embedded library. */
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
