/** The machines that executables are made for, and the Bun that goes into each of them. */
import { existsSync, readFileSync, renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import { BuildError, root, run } from "./project.ts"

/** Zig's name of the architecture and npm's, and the package that holds Bun for it. */
export const TARGETS = {
  "linux-x64": { arch: "x86_64", npm: "x64", bun: "@oven/bun-linux-x64" },
  "linux-arm64": { arch: "aarch64", npm: "arm64", bun: "@oven/bun-linux-aarch64" },
} as const satisfies Record<string, { arch: string; npm: string; bun: string }>

export type TargetName = keyof typeof TARGETS

function isTarget(name: string): name is TargetName {
  return Object.hasOwn(TARGETS, name)
}

/** The target that this machine is. */
export function hostTarget(): TargetName {
  const name = `${process.platform}-${process.arch}`
  if (isTarget(name)) return name
  throw new BuildError(`this machine is ${name}; the program runs on ${Object.keys(TARGETS).join(" and ")}`)
}

/** Reads `[--target NAME]`. */
export function parseTarget(args: readonly string[]): TargetName {
  const [first, second, ...more] = args.flatMap((arg) =>
    arg.startsWith("--target=") ? ["--target", arg.slice("--target=".length)] : [arg],
  )
  if (first === undefined) return hostTarget()
  const known = Object.keys(TARGETS).join(" or ")
  if (first !== "--target" || second === undefined || more.length > 0) {
    throw new BuildError(`the only option is --target ${known} (found: ${args.join(" ")})`)
  }
  if (isTarget(second)) return second
  throw new BuildError(`--target takes ${known} (found "${second}")`)
}

/**
 * Path of a Bun for another machine, of the version that runs here: a compiled executable is that file with the program
 * behind it. Installed on demand from npm, as the pinned Bun itself is: Bun would download it from elsewhere, without
 * the registry that this machine is set up for and the package's checksum.
 */
export async function bunFor(name: TargetName): Promise<string> {
  const { bun, npm } = TARGETS[name]
  const folder = join(root, ".toolchain", `bun-${Bun.version}-${name}`)
  const executable = (below: string) => join(below, "node_modules", bun, "bin", "bun")
  if (existsSync(executable(folder))) return executable(folder)
  const wanted = `${bun}@${Bun.version}`
  if (Bun.which("npm") === null) throw new BuildError(`npm, which would install ${wanted}, is not on PATH`)
  process.stderr.write(`build: installing ${wanted} from npm, the part of the executable that is not ours\n`)
  // Installed aside and renamed, so that an interrupted download is never taken for a Bun.
  const aside = `${folder}.partial`
  rmSync(aside, { recursive: true, force: true })
  // --force: npm refuses packages for another CPU otherwise. The package has no install scripts.
  const place = ["--prefix", aside, "--no-save", "--ignore-scripts", "--force", "--os=linux", `--cpu=${npm}`]
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
  if ((await run(["npm", "install", ...place, ...quiet, wanted])) !== 0) {
    throw new BuildError(`npm could not install ${wanted}; is a package registry reachable?`)
  }
  const manifest = join(aside, "node_modules", bun, "package.json")
  if (!existsSync(executable(aside)) || JSON.parse(readFileSync(manifest, "utf8")).version !== Bun.version) {
    throw new BuildError(`the package ${wanted} has no bin/bun`)
  }
  rmSync(folder, { recursive: true, force: true })
  renameSync(aside, folder)
  return executable(folder)
}
