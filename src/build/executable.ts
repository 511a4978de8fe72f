/**
 * `npm run build [-- --target linux-x64|linux-arm64]`: dist/dequantizer, one executable with the native library inside;
 * for a machine other than this one dist/dequantizer-<target>.
 */
import { chmodSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { join, relative } from "node:path"
import { buildLibrary, libraryHash } from "./library.ts"
import { BuildError, buildOnce, contentHash, root, runMain } from "./project.ts"
import { bunFor, hostTarget, parseTarget, type TargetName } from "./target.ts"

const sources = ["src", "package.json", "package-lock.json"]

/** Path of the executable, built when its sources have changed. */
export async function buildExecutable(target: TargetName = hostTarget()): Promise<string> {
  const library = await buildLibrary(target)
  const isHost = target === hostTarget()
  const output = join(root, "dist", isHost ? "dequantizer" : `dequantizer-${target}`)
  await buildOnce(output, contentHash(sources, libraryHash(target) + Bun.version), async () => {
    const bun = isHost ? undefined : await bunFor(target)
    process.stderr.write(`build: bundling ${relative(root, output)}\n`)
    // Built aside and renamed: a running dequantizer keeps its own file.
    const aside = `${output}.partial`
    const result = await Bun.build({
      entrypoints: [join(root, "src", "cli.ts")],
      compile: {
        outfile: aside,
        // The folder in which the program is started is not to be trusted: it may be that of a downloaded model.
        autoloadBunfig: false,
        autoloadDotenv: false,
        autoloadPackageJson: false,
        autoloadTsconfig: false,
        ...(bun === undefined ? {} : { executablePath: bun }),
      },
      plugins: [embed(library)],
      minify: { whitespace: true, syntax: true },
      bytecode: true,
      sourcemap: "none",
    }).catch((error: unknown) => {
      throw new BuildError(`bundling failed: ${error instanceof AggregateError ? error.errors.join("; ") : error}`)
    })
    if (!result.success) throw new BuildError(`bundling failed: ${result.logs.join("; ")}`)
    renameVariables(aside)
    chmodSync(aside, 0o755)
    renameSync(aside, output)
  })
  return output
}

/**
 * Variables by which Bun's runtime loads code that its caller names, or becomes Bun itself: in a program that others
 * start, with an environment that they have from somewhere, such code would be as unexpected as it is unseen. They get
 * names of the same length that nobody sets by chance; SECURITY.md tells of them.
 */
const RENAMED = { BUN_OPTIONS: "DEQ_OPTIONS", BUN_BE_BUN: "DEQ_BE_BUN" } as const

function renameVariables(path: string): void {
  const bytes = readFileSync(path)
  for (const [name, other] of Object.entries(RENAMED)) {
    let count = 0
    for (let at = bytes.indexOf(name); at !== -1; at = bytes.indexOf(name, at + 1)) {
      bytes.write(other, at, "latin1")
      count += 1
    }
    if (count === 0) throw new BuildError(`${path} does not know ${name}: this Bun is another than the one expected`)
  }
  writeFileSync(path, bytes)
}

/** The import of this machine's library becomes that of the target's. */
function embed(library: string): Bun.BunPlugin {
  return {
    name: "library of the target",
    setup: (build) => {
      build.onResolve({ filter: /\/libdequantizer\.so$/ }, () => ({ path: library }))
    },
  }
}

if (import.meta.main) {
  await runMain(async () => {
    const output = await buildExecutable(parseTarget(process.argv.slice(2)))
    const size = (Bun.file(output).size / 1e6).toFixed(0)
    process.stderr.write(`build: ${relative(root, output)} is current (${size} MB)\n`)
    return 0
  })
}
