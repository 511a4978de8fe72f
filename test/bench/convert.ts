/**
 * Conversion of a real-size gpt-oss layer against `cp` of the file that it writes: the same bytes have to be written in
 * both, but a conversion also reads and decodes. Runs of the two alternate, so that a slow moment of the machine meets
 * both; medians are compared. A second checkpoint with more layers shows that memory does not grow with the model.
 */
import { rmSync, statSync } from "node:fs"
import { join } from "node:path"
import { GPT_OSS_20B, type GptOssSize, type Naming } from "../fixtures/gpt-oss-tensors.ts"
import { findRoom } from "../fixtures/room.ts"
import { programPath } from "../reference/program.ts"
import { median, type ProcessRun, runProcess } from "./process-run.ts"

export interface ConvertBenchOptions {
  readonly namings: readonly Naming[]
  /** Pairs of runs. */
  readonly repeat: number
  /** Layers of the checkpoint that is timed, and of the one whose memory is compared with it. */
  readonly layers: readonly [number, number]
  readonly size: GptOssSize
  /** Further options of `convert`. */
  readonly options: readonly string[]
}

export const CONVERT_BENCH = {
  namings: ["original", "hf"],
  repeat: 7,
  layers: [1, 3],
  size: GPT_OSS_20B,
  options: [],
} as const satisfies ConvertBenchOptions

export interface ConvertBenchResult {
  readonly naming: Naming
  readonly place: "tmpfs" | "disk"
  readonly options: readonly string[]
  readonly bytesIn: number
  readonly bytesOut: number
  readonly convertSeconds: readonly number[]
  readonly copySeconds: readonly number[]
  /** Medians of the time on CPUs, of all threads together. */
  readonly convertCpuSeconds: number
  readonly copyCpuSeconds: number
  /** Median seconds of convert over median seconds of cp. */
  readonly ratio: number
  /** Bytes read and written by a conversion, per second, at its median. */
  readonly bytesPerSecond: number
  /** Number of layers and the peak resident set of a conversion. */
  readonly memory: readonly { readonly layers: number; readonly peakRss: number }[]
}

const FILE = "model.safetensors"

/** Fixtures are made by another process: a child's ru_maxrss starts from what its parent holds. */
async function writeSource(folder: string, naming: Naming, size: GptOssSize): Promise<void> {
  const script = join(import.meta.dir, "..", "fixtures", "gpt-oss.ts")
  await runProcess(process.execPath, script, folder, "--naming", naming, "--size", JSON.stringify(size))
}

async function convertOnce(source: string, output: string, options: readonly string[]): Promise<ProcessRun> {
  rmSync(output, { recursive: true, force: true })
  const more = ["--verify", "none", "--progress", "none", ...options]
  return await runProcess(programPath(), "convert", source, "-o", output, ...more)
}

async function copyOnce(source: string, target: string): Promise<ProcessRun> {
  rmSync(target, { force: true })
  return await runProcess("cp", source, target)
}

/** Bytes that one naming needs at a time: its largest source and output, and the copy. */
function roomFor({ size, layers }: ConvertBenchOptions): number {
  const values = size.experts * 3 * size.hidden * size.intermediate
  const attention = 4 * size.hidden * size.headDim * (size.heads + size.kvHeads)
  const perLayer = values * (2 + 17 / 32) + 2 * attention
  const timed = layers[0] * (perLayer + values * 2 + attention)
  return 1.05 * Math.max(timed, layers[1] * perLayer) + (1 << 20)
}

async function benchNaming(naming: Naming, bench: ConvertBenchOptions): Promise<ConvertBenchResult> {
  using room = findRoom(roomFor(bench))
  if (room === undefined) throw new Error(`no room for ${(roomFor(bench) / 1e9).toFixed(1)} GB of temporary files`)
  const source = join(room.path, "source")
  const output = join(room.path, "output")
  const copy = join(room.path, "copy")
  const converts: ProcessRun[] = []
  const copies: ProcessRun[] = []
  await writeSource(source, naming, { ...bench.size, layers: bench.layers[0] })
  // The first pair warms the caches and is not counted.
  for (let i = 0; i <= bench.repeat; i++) {
    const convert = await convertOnce(source, output, bench.options)
    const cp = await copyOnce(join(output, FILE), copy)
    if (i === 0) continue
    converts.push(convert)
    copies.push(cp)
  }
  const bytesIn = statSync(join(source, FILE)).size
  const bytesOut = statSync(join(output, FILE)).size
  for (const path of [source, output, copy]) rmSync(path, { recursive: true })
  await writeSource(source, naming, { ...bench.size, layers: bench.layers[1] })
  const large = await convertOnce(source, output, bench.options)
  const convertSeconds = converts.map((run) => run.seconds)
  const copySeconds = copies.map((run) => run.seconds)
  return {
    naming,
    place: room.tmpfs ? "tmpfs" : "disk",
    options: bench.options,
    bytesIn,
    bytesOut,
    convertSeconds,
    copySeconds,
    convertCpuSeconds: median(converts.map((run) => run.cpuSeconds)),
    copyCpuSeconds: median(copies.map((run) => run.cpuSeconds)),
    ratio: median(convertSeconds) / median(copySeconds),
    bytesPerSecond: (bytesIn + bytesOut) / median(convertSeconds),
    memory: [
      { layers: bench.layers[0], peakRss: Math.max(...converts.map((run) => run.peakRss)) },
      { layers: bench.layers[1], peakRss: large.peakRss },
    ],
  }
}

export async function benchConvert(bench: ConvertBenchOptions): Promise<ConvertBenchResult[]> {
  const results: ConvertBenchResult[] = []
  for (const naming of bench.namings) results.push(await benchNaming(naming, bench))
  return results
}

/** The result in lines for people. */
export function describeConvert(result: ConvertBenchResult): string[] {
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`
  const times = (seconds: readonly number[]) => {
    const [least, most] = [Math.min(...seconds), Math.max(...seconds)]
    return `median ${median(seconds).toFixed(3)} s of ${seconds.length} (${least.toFixed(3)} … ${most.toFixed(3)})`
  }
  const memory = result.memory.map(({ layers, peakRss }) => `${layers} → ${Math.round(peakRss / 1e6)} MB`)
  return [
    `${result.naming}, ${result.place}: ${gigabytes(result.bytesIn)} → ${gigabytes(result.bytesOut)}`,
    `  convert  ${times(result.convertSeconds)}  ${(result.bytesPerSecond / 1e9).toFixed(2)} GB/s read and written`,
    `  cp       ${times(result.copySeconds)}  of the output`,
    `  convert / cp  ${result.ratio.toFixed(2)}`,
    `  CPU time  ${result.convertCpuSeconds.toFixed(2)} s, cp ${result.copyCpuSeconds.toFixed(2)} s`,
    `  peak memory by number of layers  ${memory.join(", ")}`,
  ]
}
