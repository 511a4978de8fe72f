/**
 * memfd_create(2), which node:fs does not have: a file that is in no folder. Called in libc.so.6, which is in the process
 * already (see flock.ts).
 */
import { dlopen, type FFIFunction } from "bun:ffi"

/** From linux/memfd.h: no child process gets it. */
const MFD_CLOEXEC = 1

const symbols = {
  memfd_create: { args: ["ptr", "u32"], returns: "i32" },
} as const satisfies Record<string, FFIFunction>

/** Its descriptor; undefined where the system has no such files. */
export function createMemoryFile(): number | undefined {
  const name = Buffer.from("libdequantizer.so\0")
  try {
    const descriptor = dlopen("libc.so.6", symbols).symbols.memfd_create(name, MFD_CLOEXEC)
    return descriptor < 0 ? undefined : descriptor
  } catch {
    return undefined
  }
}
