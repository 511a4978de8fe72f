/** Runs the compiled program as a user does. */
import { existsSync } from "node:fs"
import { join } from "node:path"

/** The executable under test: DEQUANTIZER_BIN, or what `npm run build` makes. */
export function programPath(): string {
  const path = process.env.DEQUANTIZER_BIN ?? join(import.meta.dir, "..", "..", "dist", "dequantizer")
  if (!existsSync(path)) throw new Error("the program is not built: npm run build")
  return path
}

/** Converts, or fails with what the program said. */
export function convert(source: string, output: string, ...options: readonly string[]): void {
  const run = Bun.spawnSync([programPath(), "convert", source, "-o", output, "--progress", "none", ...options])
  if (run.exitCode !== 0) throw new Error(`convert ended with ${run.exitCode}: ${run.stderr.toString()}`)
}
