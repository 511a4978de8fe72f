/**
 * `bun test/emulation/aarch64.ts`: the Zig tests of the aarch64 levels in qemu's user-mode emulator, each on a CPU that
 * has the level and nothing beyond it.
 */
import { join } from "node:path"
import { BuildError, runMain } from "../../src/build/project.ts"
import { buildGuest, programsOf, withFolder } from "./guest.ts"
import { type Ending, formatResults, judge, type LevelResult } from "./report.ts"
import { findQemu } from "./tools.ts"

/** The CPU of qemu whose best level this is. */
export const CPUS: Readonly<Record<string, string>> = {
  "neon-dotprod": "cortex-a76",
  neon: "cortex-a53",
}

/** The longest program takes a minute of a free core. */
const SECONDS_MAX = 900

/** Runs a static program of `folder`. */
export async function runProgram(
  qemu: string,
  cpu: string,
  folder: string,
  name: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<Ending> {
  const child = Bun.spawn([qemu, "-cpu", cpu, join(folder, name)], {
    env: environment,
    stdio: ["ignore", "ignore", "pipe"],
    timeout: SECONDS_MAX * 1000,
    killSignal: "SIGKILL",
  })
  const output = await child.stderr.text()
  await child.exited
  const how = child.signalCode === null ? `exit ${child.exitCode}` : `signal ${child.signalCode}`
  return { name, output, how }
}

/** Results of the aarch64 levels. */
export async function runAarch64(qemu: string): Promise<LevelResult[]> {
  return await withFolder(async (folder) => {
    const guest = await buildGuest("aarch64", folder)
    const results: LevelResult[] = []
    for (const level of guest.levels) {
      const cpu = CPUS[level]
      if (cpu === undefined) throw new BuildError(`no CPU of qemu is known for level ${level}: add one to CPUS`)
      const start = performance.now()
      const endings: Ending[] = []
      const names = programsOf(guest, level)
      for (const name of names) endings.push(await runProgram(qemu, cpu, guest.folder, name))
      const seconds = (performance.now() - start) / 1000
      const output = endings.map((ending) => ending.output).join("")
      results.push({ level, cpu, ...judge(level, names, endings), output, seconds })
    }
    return results
  })
}

if (import.meta.main) {
  await runMain(async () => {
    const qemu = findQemu()
    if (qemu === "") throw new BuildError("qemu-aarch64-static is missing (Debian: qemu-user-static)")
    const results = await runAarch64(qemu)
    process.stdout.write(formatResults(results))
    return results.every((result) => result.fault === "") ? 0 : 1
  })
}
