/** Builds zig-out/lib/libdequantizer.so when its sources have changed. */
import { join } from "node:path"
import { BuildError, buildOnce, contentHash, root, run } from "./project.ts"
import { findZig, ZIG_VERSION } from "./zig.ts"

const sources = ["build.zig", "kernels"]

/** Development: DEQUANTIZER_BUILD_LEVELS=avx2 compiles the kernels of these CPU levels alone. Empty: all of them. */
const levels = (process.env.DEQUANTIZER_BUILD_LEVELS ?? "").split(",").filter((level) => level !== "")

export function libraryHash(): string {
  return contentHash(sources, [ZIG_VERSION, ...levels].join(" "))
}

export async function buildLibrary(): Promise<void> {
  await buildOnce(join(root, "zig-out", "lib", "libdequantizer.so"), libraryHash(), async () => {
    const zig = await findZig()
    process.stderr.write("build: compiling the kernels\n")
    if ((await run([zig, "build", ...levels.map((level) => `-Dlevels=${level}`)])) !== 0)
      throw new BuildError("the Zig library does not compile")
  })
}
