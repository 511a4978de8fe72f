/**
 * How long a user waits for the program to say its version, to show a screen of help, and to tell what is in the
 * checkpoint of gpt-oss-20b (459 tensors, in shards and in one file: headers of their real size in sparse files). From the start of
 * the process to its end, files in the page cache; `true` in the same turns tells what starting any process costs.
 */
import { join } from "node:path"
import { writeGptOss } from "../fixtures/gpt-oss.ts"
import { findRoom } from "../fixtures/room.ts"
import { programPath } from "../reference/program.ts"
import { median, runProcess } from "./process-run.ts"

export interface StartupResult {
  readonly command: string
  readonly medianSeconds: number
  readonly bestSeconds: number
  /** What it is held to; undefined: nothing. */
  readonly boundSeconds: number | undefined
}

interface Command {
  readonly name: string
  readonly words: readonly string[]
  readonly bound?: number
}

/** Files are sparse: what is on the disk are a few headers. */
const ROOM_BYTES = 16 << 20

export async function benchStartup(rounds: number): Promise<StartupResult[]> {
  using room = findRoom(ROOM_BYTES)
  if (room === undefined) throw new Error("no room for temporary files")
  const model = { naming: "hf", embeddings: true, headersOnly: true } as const
  const folder = join(room.path, "shards")
  writeGptOss({ ...model, folder })
  const whole = join(room.path, "whole")
  const [file] = writeGptOss({ ...model, folder: whole, shardSize: Number.POSITIVE_INFINITY })
  const program = programPath()
  const commands: readonly Command[] = [
    { name: "true", words: ["true"] },
    { name: "--version", words: [program, "--version"], bound: 0.04 },
    { name: "help", words: [program, "help"] },
    { name: "inspect, one file", words: [program, "inspect", join(whole, file!)], bound: 0.08 },
    { name: "inspect, a folder", words: [program, "inspect", folder] },
  ]
  const runs = commands.map((): number[] => [])
  // The first round warms the page cache and is not counted.
  for (let round = 0; round <= rounds; round++) {
    for (const [i, { words }] of commands.entries()) {
      const { seconds } = await runProcess(...words)
      if (round > 0) runs[i]!.push(seconds)
    }
  }
  return commands.map(({ name, bound }, i) => ({
    command: name,
    medianSeconds: median(runs[i]!),
    bestSeconds: Math.min(...runs[i]!),
    boundSeconds: bound,
  }))
}

export function describeStartup(results: readonly StartupResult[]): string[] {
  const milliseconds = (seconds: number) => `${(seconds * 1000).toFixed(1)} ms`
  return results.map(({ command, medianSeconds, bestSeconds, boundSeconds }) => {
    const bound = boundSeconds === undefined ? "" : `, bound ${milliseconds(boundSeconds)}`
    const times = `median ${milliseconds(medianSeconds)}, best ${milliseconds(bestSeconds)}${bound}`
    return `${command.padEnd(18)} ${times}`
  })
}
