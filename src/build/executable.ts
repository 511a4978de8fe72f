/** `npm run build`: dist/dequantizer, one executable with the native library inside. */
import { chmodSync, renameSync } from "node:fs"
import { join } from "node:path"
import { buildLibrary, libraryHash } from "./library.ts"
import { BuildError, buildOnce, contentHash, root, runMain } from "./project.ts"

const sources = ["src", "package.json", "package-lock.json"]

/** Path of the executable, built when its sources have changed. */
export async function buildExecutable(): Promise<string> {
  await buildLibrary()
  const output = join(root, "dist", "dequantizer")
  await buildOnce(output, contentHash(sources, libraryHash() + Bun.version), async () => {
    process.stderr.write("build: bundling dist/dequantizer\n")
    // Built aside and renamed: a running dequantizer keeps its own file.
    const aside = `${output}.partial`
    const result = await Bun.build({
      entrypoints: [join(root, "src", "cli.ts")],
      compile: { outfile: aside },
      minify: { whitespace: true, syntax: true },
      bytecode: true,
      sourcemap: "none",
    }).catch((error: unknown) => {
      throw new BuildError(`bundling failed: ${error instanceof AggregateError ? error.errors.join("; ") : error}`)
    })
    if (!result.success) throw new BuildError(`bundling failed: ${result.logs.join("; ")}`)
    chmodSync(aside, 0o755)
    renameSync(aside, output)
  })
  return output
}

if (import.meta.main) {
  await runMain(async () => {
    const output = await buildExecutable()
    process.stderr.write(`build: dist/dequantizer is current (${(Bun.file(output).size / 1e6).toFixed(0)} MB)\n`)
    return 0
  })
}
