/** Builds libdequantizer.so, for this machine or another one, when its sources have changed. */
import { join } from "node:path"
import { BuildError, buildOnce, contentHash, root, run } from "./project.ts"
import { hostTarget, TARGETS, type TargetName } from "./target.ts"
import { findZig, ZIG_VERSION } from "./zig.ts"

const sources = ["build.zig", "kernels"]

/**
 * Development: DEQUANTIZER_BUILD_LEVELS=avx2 compiles the kernels of these CPU levels of this machine alone. Empty: all
 * of them. A library for another machine always has all of its levels.
 */
function chosenLevels(target: TargetName): string[] {
  if (target !== hostTarget()) return []
  return (process.env.DEQUANTIZER_BUILD_LEVELS ?? "").split(",").filter((level) => level !== "")
}

/** What `zig build` is told of them. */
export function levelOptions(target: TargetName = hostTarget()): string[] {
  return chosenLevels(target).map((level) => `-Dlevels=${level}`)
}

export function libraryHash(target: TargetName = hostTarget()): string {
  return contentHash(sources, [ZIG_VERSION, ...chosenLevels(target)].join(" "))
}

/** The folder that `zig build` installs to: its own default for this machine. */
function installFolder(target: TargetName): string {
  return target === hostTarget() ? join(root, "zig-out") : join(root, "zig-out", target)
}

/** Path of the library. */
export async function buildLibrary(target: TargetName = hostTarget()): Promise<string> {
  const folder = installFolder(target)
  const library = join(folder, "lib", "libdequantizer.so")
  await buildOnce(library, libraryHash(target), async () => {
    const zig = await findZig()
    process.stderr.write(`build: compiling the kernels${target === hostTarget() ? "" : ` for ${target}`}\n`)
    const options = [`-Darch=${TARGETS[target].arch}`, ...levelOptions(target)]
    if ((await run([zig, "build", "--prefix", folder, ...options])) !== 0)
      throw new BuildError("the Zig library does not compile")
  })
  return library
}
