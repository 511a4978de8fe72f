/** Paths of the checkout, and the stamps that let a second run do nothing. */
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"

export const root = join(import.meta.dir, "..", "..")

/** A fault of the machine or the checkout, told in one sentence. */
export class BuildError extends Error {}

/** Runs `main`; a BuildError ends the process with its sentence alone. */
export async function runMain(main: () => Promise<number>): Promise<never> {
  try {
    process.exit(await main())
  } catch (error) {
    if (!(error instanceof BuildError)) throw error
    process.stderr.write(`build: ${error.message}\n`)
    process.exit(1)
  }
}

function* filesBelow(path: string): Generator<string> {
  if (!statSync(path).isDirectory()) {
    yield path
    return
  }
  for (const entry of readdirSync(path).sort()) yield* filesBelow(join(path, entry))
}

/** SHA-256 over names and contents of files and folders of the checkout, and over `extra`. */
export function contentHash(paths: readonly string[], extra: string): string {
  const hash = createHash("sha256").update(extra)
  for (const path of paths) {
    for (const file of filesBelow(join(root, path)))
      hash.update(`\0${relative(root, file)}\0`).update(readFileSync(file))
  }
  return hash.digest("hex")
}

/** Calls `build` unless `output` exists and was built from the same `hash`. */
export async function buildOnce(output: string, hash: string, build: () => Promise<void>): Promise<boolean> {
  const stamp = `${output}.stamp`
  if (existsSync(output) && existsSync(stamp) && readFileSync(stamp, "utf8") === hash) return false
  mkdirSync(dirname(output), { recursive: true })
  rmSync(stamp, { force: true })
  await build()
  writeFileSync(stamp, hash)
  return true
}

/** Runs a command in the checkout with its output shown; returns the exit code. */
export async function run(command: readonly string[], environment: Record<string, string> = {}): Promise<number> {
  const child = Bun.spawn([...command], {
    cwd: root,
    env: { ...process.env, ...environment },
    stdio: ["ignore", "inherit", "inherit"],
  })
  return await child.exited
}
