/**
 * Parts of an output, and its finishing, that are killed (SIGKILL) at random moments and run again until all have ended: the
 * output must be, byte for byte, that of one run that nobody disturbed.
 *
 *     bun test/kill/parts.ts [kills] [seed]      default 100 kills; the executable must have been built
 */
import { rmSync } from "node:fs"
import { randomWords, temporaryFolder } from "../support/checkpoints.ts"
import { writeGptOssFolder } from "../support/models.ts"
import { contents, OPTIONS, SIZE, start } from "./kill.ts"

const PARTS = 3

export interface PartKillCounts {
  /** Parts, and finishings, that were killed while they worked. */
  readonly parts: number
  readonly finishes: number
  /** Outputs that were compared. */
  readonly outputs: number
  readonly filesCompared: number
}

/** Kills until `kills` processes have died at work. Throws where a run fails or an output differs. */
export async function killParts(kills: number, seed: number): Promise<PartKillCounts> {
  using folder = temporaryFolder("dequantizer-kill-parts-")
  const [input, whole] = [folder.file("in"), folder.file("whole")]
  writeGptOssFolder(input, SIZE, 3)
  const next = randomWords(seed)
  const began = performance.now()
  await start("convert", input, "-o", whole, ...OPTIONS).exited
  const milliseconds = performance.now() - began
  const expected = contents(whole)
  const counts = { parts: 0, finishes: 0, outputs: 0, filesCompared: 0 }
  while (counts.parts + counts.finishes < kills) {
    const output = folder.file("out")
    const untilEnd = async (key: "parts" | "finishes", ...command: string[]) => {
      for (let attempt = 0; ; attempt += 1) {
        const child = start(...command)
        // Finishing writes no values, and takes half as long.
        const [least, span] = key === "parts" ? [0.2, 0.8] : [0.15, 0.4]
        const share = attempt > 3 ? Number.POSITIVE_INFINITY : least + (span * (next() % 1000)) / 1000
        const timer = Number.isFinite(share) ? setTimeout(() => child.kill("SIGKILL"), milliseconds * share) : undefined
        const exitCode = await child.exited
        clearTimeout(timer)
        if (child.signalCode === null && exitCode === 0) return
        if (child.signalCode === null) throw new Error(`${command.join(" ")} ended with ${exitCode} (seed ${seed})`)
        counts[key] += 1
      }
    }
    const part = (index: number) =>
      untilEnd("parts", "convert", input, "-o", output, ...OPTIONS, "--part", `${index}/${PARTS}`, "--resume")
    await Promise.all(Array.from({ length: PARTS }, (_, i) => part(i + 1)))
    await untilEnd("finishes", "finish", output, "--json", "--progress", "none")
    if (!Bun.deepEquals(contents(output), expected)) throw new Error(`an output differs (seed ${seed})`)
    counts.outputs += 1
    counts.filesCompared += expected.size
    rmSync(output, { recursive: true })
  }
  return counts
}

/** The counts in a line. */
export function describePartCounts({ parts, finishes, outputs, filesCompared }: PartKillCounts): string {
  const killed = `${parts} parts and ${finishes} finishings killed and survived`
  return `${killed}; ${outputs} outputs of ${filesCompared} files compared, none differs`
}

if (import.meta.main) {
  const [kills = "100", seed = "1"] = process.argv.slice(2)
  console.log(`seed ${seed}`)
  console.log(describePartCounts(await killParts(Number(kills), Number(seed))))
}
