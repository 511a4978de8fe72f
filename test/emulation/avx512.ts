/**
 * `bun test/emulation/avx512.ts`: the Zig tests of each x86-64 level that this CPU lacks, on an emulated CPU that has
 * the level and nothing beyond it, so that a level that uses more than it says faults.
 */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { BuildError, runMain } from "../../src/build/project.ts"
import { buildGuest, type Guest, programsOf, withFolder } from "./guest.ts"
import { runMachine } from "./machine.ts"
import { formatResults, judge, type LevelResult, readLog } from "./report.ts"
import { type BochsTools, findBochs } from "./tools.ts"

/** The CPU of Bochs whose best level this is. */
const CPUS: Record<string, string> = {
  "avx512-vnni": "corei7_icelake_u",
  avx512: "corei7_skylake_x",
  "avx2-vnni": "arrow_lake",
  avx2: "corei7_haswell_4770",
  "x86-64-v2": "corei5_lynnfield_750",
}

/** A guest takes a minute and a half of a free core, and all of them run at once. */
const SECONDS_MAX = 1800

async function runLevel(tools: BochsTools, guest: Guest, level: string, folder: string): Promise<LevelResult> {
  const cpu = CPUS[level]
  if (cpu === undefined) throw new BuildError(`no CPU of Bochs is known for level ${level}: add one to CPUS`)
  const program = (name: string) => join(guest.folder, name)
  const names = programsOf(guest, level)
  const machine = { cpu, init: program("init"), programs: names.map(program), secondsMax: SECONDS_MAX }
  mkdirSync(folder)
  const start = performance.now()
  const log = await runMachine(tools, machine, folder)
  const seconds = (performance.now() - start) / 1000
  return { level, cpu, ...judge(level, names, readLog(log)), output: log, seconds }
}

/** Results of the levels that this CPU lacks; none on a CPU that has them all. */
export async function runAvx512(tools: BochsTools): Promise<LevelResult[]> {
  return await withFolder(async (folder) => {
    const guest = await buildGuest("x86_64", join(folder, "build"))
    process.stderr.write(`emulation: booting ${guest.levels.length} machines\n`)
    return await Promise.all(guest.levels.map((level) => runLevel(tools, guest, level, join(folder, level))))
  })
}

if (import.meta.main) {
  await runMain(async () => {
    const tools = findBochs()
    if (typeof tools === "string") throw new BuildError(tools)
    const results = await runAvx512(tools)
    process.stdout.write(formatResults(results))
    return results.every((result) => result.fault === "") ? 0 : 1
  })
}
