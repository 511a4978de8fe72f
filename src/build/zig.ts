/** The pinned Zig: from PATH if it is that version, else from the PyPI package `ziglang` in a folder of the checkout. */
import { existsSync, renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import { BuildError, root, run } from "./project.ts"

export const ZIG_VERSION = "0.15.2"

function versionOf(zig: string): string | undefined {
  try {
    const result = Bun.spawnSync([zig, "version"], { stdout: "pipe", stderr: "ignore" })
    return result.success ? result.stdout.toString().trim() : undefined
  } catch {
    // Not there, or not executable.
    return undefined
  }
}

/** Path of a Zig of exactly ZIG_VERSION, installed on demand. */
export async function findZig(): Promise<string> {
  const onPath = versionOf("zig")
  if (onPath === ZIG_VERSION) return "zig"
  const folder = join(root, ".toolchain", `zig-${ZIG_VERSION}`)
  const zig = join(folder, "ziglang", "zig")
  if (versionOf(zig) === ZIG_VERSION) return zig

  const why = onPath === undefined ? "no zig is on PATH" : `zig on PATH is ${onPath}`
  const python = Bun.which("python3")
  if (python === null) {
    throw new BuildError(
      `Zig ${ZIG_VERSION} is needed: ${why}, and python3, which would install it from PyPI, is missing`,
    )
  }
  if (Bun.spawnSync([python, "-m", "pip", "--version"], { stdout: "ignore", stderr: "ignore" }).exitCode !== 0) {
    throw new BuildError(
      `Zig ${ZIG_VERSION} is needed: ${why}, and python3 has no pip to install it (package python3-pip)`,
    )
  }
  process.stderr.write(`build: installing Zig ${ZIG_VERSION} from PyPI (${why})\n`)
  // Installed aside and renamed, so that an interrupted download is never taken for a toolchain.
  const aside = `${folder}.partial`
  rmSync(aside, { recursive: true, force: true })
  const pip = [
    python,
    "-m",
    "pip",
    "install",
    "--quiet",
    "--disable-pip-version-check",
    "--root-user-action=ignore",
    "--no-deps",
    "--target",
    aside,
  ]
  if ((await run([...pip, `ziglang==${ZIG_VERSION}`])) !== 0) {
    throw new BuildError(`pip could not install ziglang==${ZIG_VERSION}; is PyPI reachable?`)
  }
  rmSync(folder, { recursive: true, force: true })
  renameSync(aside, folder)
  if (!existsSync(zig) || versionOf(zig) !== ZIG_VERSION) {
    throw new BuildError(`the ziglang package brought no working Zig ${ZIG_VERSION} for this machine`)
  }
  return zig
}
