/**
 * What a conversion costs by size, from one layer of gpt-oss-20b to the whole model (0.5 to 13.8 GB, as the Hub has it),
 * by threads, and what the plan of a checkpoint of 200,000 tensors in 1000 shards costs.
 *
 * The dense model has 41.8 GB. An output that is larger than the room for it is made in parts (`--part`), each removed
 * before the next: then the time is that of all parts, each of which starts the program and reads all headers.
 */
import { readdirSync, rmSync, statSync } from "node:fs"
import { cpus } from "node:os"
import { join } from "node:path"
import { freeBytes } from "../../src/bench/room.ts"
import { GPT_OSS_20B, type GptOssSize } from "../fixtures/gpt-oss-tensors.ts"
import { findRoom } from "../fixtures/room.ts"
import { programPath } from "../reference/program.ts"
import type { ConvertPlace } from "./convert-cases.ts"
import { median, type ProcessRun, runProcess } from "./process-run.ts"

export interface ScaleBenchOptions {
  readonly place: ConvertPlace
  /** Numbers of layers; the last one is timed with the embeddings. */
  readonly layers: readonly number[]
  /** The model; smaller in tests. */
  readonly size: GptOssSize
  /** Most bytes of output at one time. */
  readonly outputMax: number
  /** Runs of each size and number of threads: the fastest counts, as in a run of minutes something always disturbs. */
  readonly repeat: number
  readonly threads: readonly number[]
  readonly plan: { readonly tensors: number; readonly shards: number }
}

export const SCALE_BENCH = {
  place: "tmpfs",
  layers: [1, 2, 4, 8, 16, 24],
  size: GPT_OSS_20B,
  outputMax: 3e9,
  repeat: 2,
  threads: Array.from({ length: cpus().length }, (_, i) => i + 1),
  plan: { tensors: 200_000, shards: 1000 },
} as const satisfies ScaleBenchOptions

export interface ScalePoint {
  readonly layers: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Runs that the output was made in. */
  readonly parts: number
  readonly seconds: number
  /** Seconds for each GB that is read or written. */
  readonly secondsPerGigabyte: number
  /** The most of any run. */
  readonly peakRss: number
}

export interface ThreadPoint {
  readonly threads: number
  readonly seconds: number
}

export interface PlanCost {
  readonly tensors: number
  readonly shards: number
  /** Medians, from the start of the process to its end. */
  readonly inspectSeconds: number
  readonly dryRunSeconds: number
  readonly peakRss: number
}

export interface ScaleBenchResult {
  readonly place: ConvertPlace
  readonly points: readonly ScalePoint[]
  readonly threads: readonly ThreadPoint[]
  readonly plan: PlanCost
}

/** Tensors of a shard: every layer has one of its own, so that parts are of one size. */
const SHARD_SIZE = "1800MB"
const FIXTURES = join(import.meta.dir, "..", "fixtures")

/** Bytes of the safetensors files in a folder. */
function weightBytes(folder: string): number {
  const names = readdirSync(folder).filter((name) => name.endsWith(".safetensors"))
  return names.reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)
}

interface Place {
  readonly source: string
  readonly output: string
}

async function writeSource({ source }: Place, layers: number, bench: ScaleBenchOptions, whole: boolean): Promise<void> {
  rmSync(source, { recursive: true, force: true })
  const size = ["--size", JSON.stringify({ ...bench.size, layers }), "--layers", String(layers)]
  // In a process of its own: a child's peak of memory starts from what its parent holds.
  const more = whole ? ["--embeddings"] : []
  await runProcess(process.execPath, join(FIXTURES, "gpt-oss.ts"), source, ...size, ...more)
  if (bench.place === "disk") await runProcess("sync")
}

async function convert({ source, output }: Place, ...options: string[]): Promise<ProcessRun> {
  rmSync(output, { recursive: true, force: true })
  const quiet = ["--verify", "none", "--progress", "none", "--shard-size", SHARD_SIZE]
  return await runProcess(programPath(), "convert", source, "-o", output, ...quiet, ...options)
}

/** One size, in as many parts as its output needs. */
async function measureSize(place: Place, layers: number, bytesOut: number, bench: ScaleBenchOptions) {
  const bytesIn = weightBytes(place.source)
  const parts = Math.ceil(bytesOut / bench.outputMax)
  let [seconds, peakRss] = [Number.POSITIVE_INFINITY, 0]
  for (let run = 0; run < bench.repeat; run++) {
    let sum = 0
    for (let part = 1; part <= parts; part++) {
      const { seconds: own, peakRss: peak } = await convert(place, ...(parts > 1 ? ["--part", `${part}/${parts}`] : []))
      sum += own
      peakRss = Math.max(peakRss, peak)
    }
    seconds = Math.min(seconds, sum)
  }
  rmSync(place.output, { recursive: true, force: true })
  const secondsPerGigabyte = seconds / ((bytesIn + bytesOut) / 1e9)
  return { layers, bytesIn, bytesOut, parts, seconds, secondsPerGigabyte, peakRss }
}

/** Bytes that the dense model has, as the plan says. */
async function denseBytes({ source }: Place): Promise<number> {
  const { output } = await runProcess(programPath(), "convert", source, "-n", "--json")
  return (JSON.parse(output) as { bytes_out: number }).bytes_out
}

async function measureThreads(place: Place, bench: ScaleBenchOptions): Promise<ThreadPoint[]> {
  const best = new Map(bench.threads.map((threads) => [threads, Number.POSITIVE_INFINITY]))
  // In turns, so that a slow moment meets all; the first round warms the caches.
  for (let run = 0; run <= bench.repeat; run++) {
    for (const threads of bench.threads) {
      const { seconds } = await convert(place, "-j", String(threads))
      if (run > 0) best.set(threads, Math.min(best.get(threads)!, seconds))
    }
  }
  return [...best].map(([threads, seconds]) => ({ threads, seconds }))
}

async function measurePlan(folder: string, { plan: { tensors, shards }, repeat }: ScaleBenchOptions) {
  await runProcess(process.execPath, join(FIXTURES, "many-tensors.ts"), folder, String(tensors), String(shards))
  const timed = async (...words: string[]) => {
    const runs: ProcessRun[] = []
    for (let run = 0; run <= repeat; run++) runs.push(await runProcess(programPath(), ...words))
    const counted = runs.slice(1)
    return { seconds: median(counted.map(({ seconds }) => seconds)), peak: Math.max(...runs.map((run) => run.peakRss)) }
  }
  const inspect = await timed("inspect", folder)
  const dryRun = await timed("convert", folder, "-n")
  rmSync(folder, { recursive: true })
  const peakRss = Math.max(inspect.peak, dryRun.peak)
  return { tensors, shards, inspectSeconds: inspect.seconds, dryRunSeconds: dryRun.seconds, peakRss }
}

/** Throws where there is no room for the largest size that is asked for. */
export async function benchScale(bench: ScaleBenchOptions): Promise<ScaleBenchResult> {
  const { experts, hidden, intermediate, vocabulary } = bench.size
  const largest = Math.max(...bench.layers)
  const stored = largest * experts * 3 * hidden * intermediate * 0.6 + 4 * vocabulary * hidden
  const size = stored + 1.3 * bench.outputMax
  // Not `findRoom`'s rule for tmpfs: the source stays there, and nothing else has much to keep in memory.
  using room = findRoom(bench.place === "tmpfs" ? Math.min(size, 1) : size, bench.place === "disk")
  if (room === undefined || (room.tmpfs ? "tmpfs" : "disk") !== bench.place || freeBytes(room.path) < size)
    throw new Error(`no room for ${(size / 1e9).toFixed(1)} GB of temporary files (${bench.place})`)
  const place = { source: join(room.path, "source"), output: join(room.path, "output") }
  const plan = await measurePlan(join(room.path, "many"), bench)
  const points: ScalePoint[] = []
  let threads: ThreadPoint[] = []
  for (const [i, layers] of bench.layers.entries()) {
    await writeSource(place, layers, bench, i === bench.layers.length - 1)
    if (i === 0) threads = await measureThreads(place, bench)
    points.push(await measureSize(place, layers, await denseBytes(place), bench))
  }
  return { place: bench.place, points, threads, plan }
}

/** The result in lines for people. */
export function describeScale({ place, points, threads, plan }: ScaleBenchResult): string[] {
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`
  return [
    ...points.map((point) => {
      const parts = point.parts === 1 ? "" : ` in ${point.parts} parts`
      const sizes = `${gigabytes(point.bytesIn)} → ${gigabytes(point.bytesOut)}${parts}, ${place}`
      const cost = `${point.secondsPerGigabyte.toFixed(3)} s for each GB read or written`
      return `${sizes}: ${point.seconds.toFixed(2)} s, ${cost}, peak ${Math.round(point.peakRss / 1e6)} MB`
    }),
    ...threads.map(({ threads: count, seconds }) => `${count} threads: ${seconds.toFixed(2)} s`),
    `plan of ${plan.tensors} tensors in ${plan.shards} shards: inspect ${plan.inspectSeconds.toFixed(2)} s, ` +
      `convert --dry-run ${plan.dryRunSeconds.toFixed(2)} s, peak ${Math.round(plan.peakRss / 1e6)} MB`,
  ]
}
