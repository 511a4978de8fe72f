/**
 * Installs what conversions are compared with, as far as this machine lets: bun test/bench/peers/setup.ts
 *
 * The Python libraries go into test/reference/.venv (6 GB, among them torch), anamnesis is built by cargo into
 * test/bench/peers/.cargo; both are git-ignored.
 */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { ENVIRONMENT } from "../../reference/python.ts"

const CARGO_ROOT = join(import.meta.dir, ".cargo")

/** The program of anamnesis. */
export const AMN = join(CARGO_ROOT, "bin", "amn")

const AMN_VERSION = "0.7.10"
const AMN_FEATURES = "cli,gguf,gptq,awq,bnb,nvfp4"

const REFERENCE = join(import.meta.dir, "..", "..", "reference")

/** Runs a command with its output on stderr; false where it fails or does not exist. */
function succeeds(...command: string[]): boolean {
  if (Bun.which(command[0]!) === null) return false
  return Bun.spawnSync(command, { stdio: ["ignore", 2, 2] }).exitCode === 0
}

function* problems(): Generator<string> {
  if (!succeeds(process.execPath, join(REFERENCE, "setup.ts"), "full")) yield "the Python libraries are not complete"
  // Their own pins contradict those of the others.
  const quantizers = ["--no-deps", "--no-build-isolation", "-r", join(REFERENCE, "requirements-quantizers.txt")]
  const pip = [join(ENVIRONMENT, "bin", "python"), "-m", "pip", "install", "--quiet", ...quantizers]
  if (!succeeds(...pip)) yield "GPTQModel is left out"
  if (existsSync(AMN)) return
  const install = ["install", "anamnesis", "--version", AMN_VERSION, "--features", AMN_FEATURES, "--root", CARGO_ROOT]
  if (!succeeds("cargo", ...install)) yield "anamnesis is left out: it needs cargo 1.88 or newer"
}

if (import.meta.main) {
  for (const problem of problems()) {
    console.error(`setup: ${problem}`)
    process.exitCode = 1
  }
}
