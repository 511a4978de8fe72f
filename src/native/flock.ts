/**
 * flock(2), which node:fs does not have. It is called in libc.so.6: Bun's Linux executables, and with them the compiled
 * program, are linked with glibc, so that library is in the process already and opening it adds nothing. It is looked
 * up at the first lock, so that a command that writes nothing starts without it.
 */
import { dlopen, type FFIFunction, type Library, read } from "bun:ffi"

/** From asm-generic/fcntl.h. */
const LOCK_SH = 1
const LOCK_EX = 2
const LOCK_NB = 4

/** From asm-generic/errno-base.h and errno.h. */
const EAGAIN = 11
const UNSUPPORTED: ReadonlySet<number> = new Set([
  37, // ENOLCK: NFS without a lock service
  38, // ENOSYS
  95, // EOPNOTSUPP
])

const symbols = {
  flock: { args: ["i32", "i32"], returns: "i32" },
  __errno_location: { args: [], returns: "ptr" },
} as const satisfies Record<string, FFIFunction>

let libc: Library<typeof symbols>["symbols"] | undefined

/** "held" by another open file; "unsupported" by the file system; else the errno of a failure. */
export type FlockResult = "locked" | "held" | "unsupported" | { readonly errno: number }

/** exclusive: nobody else holds it in any way. shared: with others that share it. */
export type FlockMode = "exclusive" | "shared"

/**
 * Asks for the lock of an open file and does not wait. The lock belongs to the open file: the kernel gives it free when
 * the last descriptor of it is closed, however the process ends. A file that is locked already changes its mode; where
 * that fails it may have lost its lock.
 */
export function tryFlock(fd: number, mode: FlockMode = "exclusive"): FlockResult {
  libc ??= dlopen("libc.so.6", symbols).symbols
  // errno's address is this thread's own. It is asked for first, so that nothing comes between the call and the look.
  const address = libc.__errno_location()
  if (address === null) throw new Error("__errno_location returned NULL")
  if (libc.flock(fd, (mode === "shared" ? LOCK_SH : LOCK_EX) | LOCK_NB) === 0) return "locked"
  return flockFailure(read.i32(address, 0))
}

/** What it means that the call has failed with `errno`. */
export function flockFailure(errno: number): Exclude<FlockResult, "locked"> {
  if (errno === EAGAIN) return "held"
  return UNSUPPORTED.has(errno) ? "unsupported" : { errno }
}
