/**
 * Installs the reference libraries that the tests compare with into test/reference/.venv (git-ignored):
 *
 *     bun test/reference/setup.ts [numpy|full]
 *
 * numpy (the default) is what compare.py needs: 100 MB. full adds torch and transformers: 6 GB. An environment that has
 * the level already is left as it is.
 */
import { join } from "node:path"
import { ENVIRONMENT, findPython, LEVELS, type Level } from "./python.ts"

const REQUIREMENTS = { numpy: "requirements.txt", full: "requirements-full.txt" } as const satisfies Record<
  Level,
  string
>

function isLevel(name: string): name is Level {
  return (LEVELS as readonly string[]).includes(name)
}

/** Runs a command with its output on stderr; false where it fails or does not exist. */
function succeeds(...command: string[]): boolean {
  if (Bun.which(command[0]!) === null) return false
  return Bun.spawnSync(command, { stdio: ["ignore", 2, 2] }).exitCode === 0
}

function main(level: string): string | undefined {
  if (!isLevel(level)) return `unknown level ${level}: one of ${LEVELS.join(", ")}`
  const python = join(ENVIRONMENT, "bin", "python")
  if ("path" in findPython(level)) return undefined
  if (Bun.which(python) === null && !succeeds("python3", "-m", "venv", ENVIRONMENT)) {
    return "python3 with its venv module is needed (Debian: apt install python3-venv)"
  }
  const requirements = join(import.meta.dir, REQUIREMENTS[level])
  const install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]
  return succeeds(python, ...install) ? undefined : `pip could not install ${REQUIREMENTS[level]}`
}

const problem = main(process.argv[2] ?? "numpy")
if (problem !== undefined) {
  console.error(`setup: ${problem}`)
  process.exitCode = 1
}
