/** Builds the static test programs of the CPU levels that this machine lacks: `zig build guest-tests`. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { BuildError, run } from "../../src/build/project.ts"
import { findZig } from "../../src/build/zig.ts"

export interface Guest {
  /** Folder of the programs. */
  folder: string
  /** Levels with a program `test-<level>`. */
  levels: string[]
  /** Where the host is of another architecture: `test-library`, the tests beside and above the kernels. */
  library: boolean
}

const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const

/** Calls `work` with a fresh folder that is gone afterwards, also where the process is interrupted. */
export async function withFolder<Result>(work: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), "emulation-"))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  const interrupts = Object.entries(SIGNALS).map(([signal, code]) => [signal, () => process.exit(code)] as const)
  process.once("exit", remove)
  for (const [signal, handler] of interrupts) process.once(signal, handler)
  try {
    return await work(folder)
  } finally {
    for (const [signal, handler] of interrupts) process.off(signal, handler)
    process.off("exit", remove)
    remove()
  }
}

/** Installs the programs into `folder`. No level is left on a machine that has them all. */
export async function buildGuest(arch: "x86_64" | "aarch64", folder: string): Promise<Guest> {
  const command = [await findZig(), "build", "guest-tests", `-Darch=${arch}`, "--prefix", folder]
  if ((await run(command)) !== 0) throw new BuildError(`the tests of ${arch} do not compile`)
  const programs = join(folder, "guest")
  const tests = readdirSync(programs).flatMap((name) => name.match(/^test-(.+)$/)?.[1] ?? [])
  const levels = tests.filter((name) => name !== "library").sort()
  return { folder: programs, levels, library: tests.includes("library") }
}

/**
 * Installs `test-library` of another architecture alone: of the library's tests, with the kernels as they are shipped,
 * those whose name contains `filter`. Returns its folder.
 */
export async function buildGuestLibrary(arch: "aarch64", prefix: string, filter: string): Promise<string> {
  const options = [`-Darch=${arch}`, `-Dtest-filter=${filter}`, "--prefix", prefix]
  const command = [await findZig(), "build", "guest-library", ...options]
  if ((await run(command)) !== 0) throw new BuildError(`the tests of ${arch} do not compile`)
  return join(prefix, "guest")
}

/** What a level's CPU runs: detection, the level's own tests, and the library's. */
export function programsOf(guest: Guest, level: string): string[] {
  return ["levels", `test-${level}`, ...(guest.library ? ["test-library"] : [])]
}
