/** Runs the compiled program as a shell does. */
import { setDefaultTimeout } from "bun:test"
import { programPath } from "../reference/program.ts"

// A test of several runs takes longer on a busy machine than the usual limit.
setDefaultTimeout(60_000)

export const BIN = programPath()

export interface Ended {
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number
}

export interface RunOptions {
  readonly cwd?: string
  /** The whole environment; absent: PATH and TMPDIR of this one. */
  readonly env?: Readonly<Record<string, string>>
}

/** What a program needs of an environment, without colours or settings of whoever runs the tests. */
export function plainEnvironment(more: Readonly<Record<string, string>> = {}): Record<string, string> {
  const { PATH = "/usr/bin:/bin", TMPDIR } = process.env
  return { PATH, ...(TMPDIR === undefined ? {} : { TMPDIR }), ...more }
}

/** Runs any command to its end. A signal gives 128 + its number, as in a shell. */
export async function runCommand(command: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const child = Bun.spawn([...command], {
    cwd: options.cwd ?? process.cwd(),
    env: options.env ?? plainEnvironment(),
    stdio: ["ignore", "pipe", "pipe"],
  })
  const [stdout, stderr, exitCode] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { stdout, stderr, exitCode }
}

/** `dequantizer …args`. */
export async function run(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return await runCommand([BIN, ...args], options)
}

/** A script of sh in which `$BIN` is the program. */
export async function shell(script: string, options: RunOptions = {}): Promise<Ended> {
  return await runCommand(["sh", "-c", script], { ...options, env: { ...(options.env ?? plainEnvironment()), BIN } })
}
