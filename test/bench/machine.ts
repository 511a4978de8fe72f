/** Where and with what a result was measured. Nothing in it names a path or a host. */
import { programPath } from "../reference/program.ts"

export interface MachineLabel {
  readonly cpu: string
  readonly cores: number
  readonly threads: number
  readonly level: string
  readonly memoryBytes: number
  /** Commit of the checkout, with `-dirty` where files of the program differ from it. */
  readonly commit: string
  readonly version: string
  readonly date: string
}

function textOf(...command: string[]): string {
  const run = Bun.spawnSync(command)
  if (run.exitCode !== 0) throw new Error(`${command.join(" ")}: ${run.stderr.toString()}`)
  return run.stdout.toString().trim()
}

function commit(): string {
  const hash = textOf("git", "rev-parse", "--short=12", "HEAD")
  return textOf("git", "status", "--porcelain", "--", "src", "kernels", "build.zig") === "" ? hash : `${hash}-dirty`
}

export function describeMachine(): MachineLabel {
  const { machine } = JSON.parse(textOf(programPath(), "doctor", "--json"))
  return {
    cpu: machine.cpu,
    cores: machine.cores_allowed,
    threads: machine.threads,
    level: machine.level,
    memoryBytes: machine.memory_total_bytes,
    commit: commit(),
    version: textOf(programPath(), "--version"),
    date: new Date().toISOString().slice(0, 10),
  }
}
