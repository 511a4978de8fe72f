/**
 * Conversions that are killed (SIGKILL) at random moments and resumed, until one ends: its output must be, byte for
 * byte, that of a run that nobody disturbed.
 *
 *     bun test/kill/kill.ts [kills] [seed]      default 200 kills; the executable must have been built
 */
import { createHash } from "node:crypto"
import { readdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { programPath } from "../reference/program.ts"
import { randomWords, temporaryFolder } from "../support/checkpoints.ts"
import { writeGptOssFolder } from "../support/models.ts"

export interface KillCounts {
  /** Runs that were killed while they worked, and those of them that had left finished shards. */
  readonly kills: number
  readonly leftShards: number
  /** Runs that ended well: each is compared. */
  readonly outputs: number
  /** Shards that these had kept of killed ones. */
  readonly shardsKept: number
  readonly bytesCompared: number
}

export const SIZE = { layers: 8, experts: 4, hidden: 192, intermediate: 224, vocabulary: 64 } as const
export const OPTIONS = ["--shard-size", "500kB", "--to", "f32", "--verify", "none", "--json", "--progress", "none"]

/** Name and hash of each file. */
export function contents(folder: string): Map<string, string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  const names = entries.filter((entry) => entry.isFile())
  return new Map(
    names.map(({ parentPath, name }) => {
      const path = join(parentPath, name)
      return [path.slice(folder.length + 1), createHash("sha256").update(readFileSync(path)).digest("hex")]
    }),
  )
}

/** Kills until `kills` runs have died at work. Throws where a run fails or an output differs. */
export async function killAndResume(kills: number, seed: number): Promise<KillCounts> {
  using folder = temporaryFolder("dequantizer-kill-")
  const input = folder.file("in")
  const whole = folder.file("whole")
  writeGptOssFolder(input, SIZE, 3)
  const next = randomWords(seed)
  const started = performance.now()
  await convert(input, whole, []).exited
  // The program's own start, in which there is nothing to disturb, is a good part of it.
  const milliseconds = performance.now() - started
  const expected = contents(whole)
  const bytes = readdirSync(whole).reduce((sum, name) => sum + Bun.file(join(whole, name)).size, 0)
  const counts = { kills: 0, leftShards: 0, outputs: 0, shardsKept: 0, bytesCompared: 0 }
  while (counts.kills < kills) {
    const output = folder.file(`out-${counts.outputs}`)
    const ended = await untilOneEnds(input, output, { next, milliseconds, counts, kills })
    if (!ended) throw new Error(`a resumed run failed (seed ${seed})`)
    if (!Bun.deepEquals(contents(output), expected)) throw new Error(`an output differs (seed ${seed})`)
    counts.outputs += 1
    counts.bytesCompared += bytes
    rmSync(output, { recursive: true })
  }
  return counts
}

interface Round {
  readonly next: () => number
  readonly milliseconds: number
  readonly counts: { kills: number; leftShards: number; shardsKept: number }
  readonly kills: number
}

/** Starts runs of one output, each a resumption of the last, and kills them; false where one ends with a fault. */
async function untilOneEnds(input: string, output: string, round: Round): Promise<boolean> {
  const { next, milliseconds, counts } = round
  for (let attempt = 0; ; attempt += 1) {
    // The first may be any run: what it leaves must be as good.
    const run = convert(input, output, attempt === 0 && next() % 2 === 0 ? [] : ["--resume"])
    const patient = counts.kills >= round.kills || attempt > 8
    const delay = patient ? undefined : milliseconds * (0.25 + (0.65 * (next() % 1000)) / 1000)
    const timer = delay === undefined ? undefined : setTimeout(() => run.kill("SIGKILL"), delay)
    const stdout = await run.stdout.text()
    const exitCode = await run.exited
    clearTimeout(timer)
    if (run.signalCode === null) {
      if (exitCode !== 0) return false
      counts.shardsKept += (JSON.parse(stdout) as { shards_kept: number }).shards_kept
      return true
    }
    counts.kills += 1
    if (hasFinishedShard(output)) counts.leftShards += 1
  }
}

function convert(input: string, output: string, more: readonly string[]) {
  return start("convert", input, "-o", output, ...OPTIONS, ...more)
}

/** Starts the program; what it says on stderr is seen. */
export function start(...args: readonly string[]) {
  return Bun.spawn([programPath(), ...args], { stdio: ["ignore", "pipe", "inherit"] })
}

function hasFinishedShard(output: string): boolean {
  try {
    return readFileSync(join(output, ".dequantizer.journal"), "utf8").split("\n").length > 2
  } catch {
    return false
  }
}

/** The counts in a line. */
export function describeCounts(counts: KillCounts): string {
  const { kills, leftShards, outputs, shardsKept, bytesCompared } = counts
  const left = `${leftShards} of them left finished shards, ${shardsKept} shards were kept`
  return `${kills} runs killed and survived (${left}); ${outputs} outputs of ${bytesCompared} bytes compared, none differs`
}

if (import.meta.main) {
  const [kills = "200", seed = "1"] = process.argv.slice(2)
  console.log(`seed ${seed}`)
  console.log(describeCounts(await killAndResume(Number(kills), Number(seed))))
}
