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
}

/** Calls `work` with a fresh folder that is gone afterwards. */
export async function withFolder<Result>(work: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), "emulation-"))
  try {
    return await work(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Installs the programs into `folder`. No level is left on a machine that has them all. */
export async function buildGuest(arch: "x86_64" | "aarch64", folder: string): Promise<Guest> {
  const command = [await findZig(), "build", "guest-tests", `-Darch=${arch}`, "--prefix", folder]
  if ((await run(command)) !== 0) throw new BuildError(`the tests of ${arch} do not compile`)
  const programs = join(folder, "guest")
  const levels = readdirSync(programs).filter((name) => name.startsWith("test-"))
  return { folder: programs, levels: levels.map((name) => name.slice("test-".length)).sort() }
}
