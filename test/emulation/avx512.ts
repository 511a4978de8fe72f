/**
 * `bun test/emulation/avx512.ts`: the Zig tests of each x86-64 level that this CPU lacks, on an emulated CPU that has
 * the level and nothing beyond it, so that a level that uses more than it says faults.
 */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { BuildError, runMain } from "../../src/build/project.ts"
import { buildGuest, type Guest, withFolder } from "./guest.ts"
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

/** A guest takes half a minute of a free core. */
const SECONDS_MAX = 600

async function runLevel(tools: BochsTools, guest: Guest, level: string, folder: string): Promise<LevelResult> {
  const cpu = CPUS[level]
  if (cpu === undefined) throw new BuildError(`no CPU of Bochs is known for level ${level}: add one to CPUS`)
  const program = (name: string) => join(guest.folder, name)
  const programs = [program("levels"), program(`test-${level}`)]
  mkdirSync(folder)
  const start = performance.now()
  const log = await runMachine(tools, { cpu, init: program("init"), programs, secondsMax: SECONDS_MAX }, folder)
  const seconds = (performance.now() - start) / 1000
  const endings = readLog(log)
  const find = (name: string) => endings.find((ending) => ending.name === name)
  const { passed, fault } = judge(level, find(`test-${level}`), find("levels"))
  return { level, cpu, passed, fault, output: log, seconds }
}

/** Results of the levels that this CPU lacks; none on a CPU that has them all. */
export async function runAvx512(tools: BochsTools): Promise<LevelResult[]> {
  return await withFolder(async (folder) => {
    const guest = await buildGuest("x86_64", join(folder, "build"))
    const results: LevelResult[] = []
    for (const level of guest.levels) {
      process.stderr.write(`emulation: booting ${CPUS[level]} for level ${level}\n`)
      results.push(await runLevel(tools, guest, level, join(folder, level)))
    }
    return results
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
