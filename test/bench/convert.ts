/**
 * Conversions of layers of real size against `cp` of the file that they write: the same bytes have to be written in both,
 * but a conversion also reads and decodes. On a disk both end when the bytes are on it. Runs of the two alternate, so that
 * a slow moment of the machine meets both; medians are compared. Other programs take turns after them: what they leave of
 * the memory, a hypervisor takes back and gives again at the cost of the next one. A second checkpoint with more layers
 * shows that memory does not grow with the model.
 */
import { rmSync, statSync } from "node:fs"
import { join } from "node:path"
import { findRoom } from "../fixtures/room.ts"
import { programPath } from "../reference/program.ts"
import { CONVERT_CASES, type ConvertCase, type ConvertPlace, valuesOf } from "./convert-cases.ts"
import { convertPeers } from "./convert-peers.ts"
import { median, type ProcessRun, runProcess } from "./process-run.ts"

export interface ConvertBenchOptions {
  readonly place: ConvertPlace
  /** Runs of the conversion and of cp. */
  readonly repeat: number
  /** Runs of each of the others; 0: none of them. */
  readonly peerRepeat: number
  /** By which the matrices of the checkpoint are smaller than the models'. */
  readonly scale: number
  /** Further options of `convert`. */
  readonly options: readonly string[]
}

export const CONVERT_BENCH = {
  place: "tmpfs",
  repeat: 7,
  peerRepeat: 3,
  scale: 1,
  options: [],
} as const satisfies ConvertBenchOptions

/** Runs of one program. */
export interface Timing {
  readonly seconds: readonly number[]
  readonly median: number
  /** Median of the time on CPUs, of all threads together. */
  readonly cpuMedian: number
  readonly peakRss: number
}

export interface PeerTiming extends Timing {
  readonly name: string
  /** Median seconds over those of the conversion. */
  readonly ratio: number
}

export interface ConvertBenchResult {
  readonly case: ConvertCase
  readonly place: ConvertPlace
  readonly options: readonly string[]
  readonly bytesIn: number
  readonly bytesOut: number
  readonly convert: Timing
  /** On a disk, with sync of the file. */
  readonly copy: Timing
  /** On a disk: zeros of the same number, written by dd around the page cache. */
  readonly device: Timing | undefined
  /** Median seconds of convert over median seconds of cp. */
  readonly ratio: number
  readonly peers: readonly PeerTiming[]
  /** Those that are not here, and why. */
  readonly left: readonly string[]
  /** Number of layers and the peak resident set of a conversion. */
  readonly memory: readonly { readonly layers: number; readonly peakRss: number }[]
}

const FILE = "model.safetensors"
/** Layers of the checkpoint whose memory is compared, for each one of that which is timed. */
const MORE_LAYERS = 3

function timing(runs: readonly ProcessRun[]): Timing {
  const seconds = runs.map((run) => run.seconds)
  return {
    seconds,
    median: median(seconds),
    cpuMedian: median(runs.map((run) => run.cpuSeconds)),
    peakRss: Math.max(...runs.map((run) => run.peakRss)),
  }
}

/** What converts a case in `folder`. */
class Contest {
  readonly source: string
  readonly output: string
  readonly copy: string
  readonly #name: ConvertCase
  readonly #bench: ConvertBenchOptions

  constructor(name: ConvertCase, folder: string, bench: ConvertBenchOptions) {
    const checkpoint = join(folder, "source")
    this.source = name === "gguf" ? join(checkpoint, "model.gguf") : checkpoint
    this.output = join(folder, "output")
    this.copy = join(folder, "copy")
    this.#name = name
    this.#bench = bench
  }

  async writeSource(layers: number): Promise<void> {
    const folder = join(this.source, this.#name === "gguf" ? ".." : ".")
    rmSync(folder, { recursive: true, force: true })
    const script = join(import.meta.dir, "convert-cases.ts")
    await runProcess(process.execPath, script, this.#name, folder, String(layers), String(this.#bench.scale))
    // What is still to be written would be written while others are timed.
    if (this.#bench.place === "disk") await runProcess("sync")
  }

  async convertOnce(): Promise<ProcessRun> {
    rmSync(this.output, { recursive: true, force: true })
    const more = ["--verify", "none", "--progress", "none", ...this.#bench.options]
    return await runProcess(programPath(), "convert", this.source, "-o", this.output, ...more)
  }

  async copyOnce(): Promise<ProcessRun> {
    rmSync(this.copy, { force: true })
    const from = join(this.output, FILE)
    if (this.#bench.place === "tmpfs") return await runProcess("cp", from, this.copy)
    return await runProcess("sh", "-c", 'cp "$1" "$2" && sync "$2"', "sh", from, this.copy)
  }

  async fillOnce(): Promise<ProcessRun> {
    rmSync(this.copy, { force: true })
    const size = `count=${statSync(join(this.output, FILE)).size}`
    const flags = ["iflag=count_bytes", "oflag=direct", "conv=fsync", "status=none"]
    return await runProcess("dd", "if=/dev/zero", `of=${this.copy}`, "bs=4M", size, ...flags)
  }
}

/** Converts one case. Throws where there is no room. */
export async function benchConvert(name: ConvertCase, bench: ConvertBenchOptions): Promise<ConvertBenchResult> {
  const { layers } = CONVERT_CASES[name]
  // The output, its copy and that of another program; more layers of stored weights.
  const size = valuesOf(name, layers, bench.scale) * (3 * 2 + MORE_LAYERS * 1.2) + (1 << 20)
  using room = findRoom(size, bench.place === "disk")
  if (room === undefined || (room.tmpfs ? "tmpfs" : "disk") !== bench.place)
    throw new Error(`no room for ${(size / 1e9).toFixed(1)} GB of temporary files (${bench.place})`)
  const contest = new Contest(name, room.path, bench)
  await contest.writeSource(layers)
  const peers = bench.peerRepeat === 0 ? [] : convertPeers(name)
  const able = peers.filter(({ left }) => left === undefined)
  const runs = { convert: [] as ProcessRun[], copy: [] as ProcessRun[], device: [] as ProcessRun[] }
  const peerRuns = new Map(able.map((peer) => [peer, [] as ProcessRun[]]))
  // The first pair warms the caches and is not counted.
  for (let i = 0; i <= bench.repeat; i++) {
    const convert = await contest.convertOnce()
    const copy = await contest.copyOnce()
    if (i === 0) continue
    runs.convert.push(convert)
    runs.copy.push(copy)
    if (bench.place === "disk") runs.device.push(await contest.fillOnce())
    rmSync(contest.copy)
  }
  for (let i = 0; i < bench.peerRepeat; i++) {
    for (const [peer, list] of peerRuns) list.push(await peer.run(contest.source, join(room.path, "peer")))
  }
  const bytesIn = statSync(name === "gguf" ? contest.source : join(contest.source, FILE)).size
  const bytesOut = statSync(join(contest.output, FILE)).size
  await contest.writeSource(layers * MORE_LAYERS)
  const large = await contest.convertOnce()
  const [convert, copy] = [timing(runs.convert), timing(runs.copy)]
  return {
    case: name,
    place: bench.place,
    options: bench.options,
    bytesIn,
    bytesOut,
    convert,
    copy,
    device: runs.device.length === 0 ? undefined : timing(runs.device),
    ratio: convert.median / copy.median,
    peers: [...peerRuns].map(([peer, list]) => {
      const measured = timing(list)
      return { name: peer.name, ratio: measured.median / convert.median, ...measured }
    }),
    left: peers.flatMap((peer) => (peer.left === undefined ? [] : [`${peer.name}: ${peer.left}`])),
    memory: [
      { layers, peakRss: convert.peakRss },
      { layers: layers * MORE_LAYERS, peakRss: large.peakRss },
    ],
  }
}

/** The result in lines for people. */
export function describeConvert(result: ConvertBenchResult): string[] {
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`
  const line = (name: string, { seconds, median, cpuMedian, peakRss }: Timing, more = "") =>
    `  ${name.padEnd(18)} median ${median.toFixed(3)} s of ${seconds.length} (${Math.min(...seconds).toFixed(3)} … ` +
    `${Math.max(...seconds).toFixed(3)})  CPU ${cpuMedian.toFixed(2)} s  peak ${Math.round(peakRss / 1e6)} MB${more}`
  const memory = result.memory.map(({ layers, peakRss }) => `${layers} → ${Math.round(peakRss / 1e6)} MB`)
  return [
    `${result.case}, ${result.place}: ${gigabytes(result.bytesIn)} → ${gigabytes(result.bytesOut)}`,
    line("convert", result.convert),
    line(result.place === "disk" ? "cp and sync" : "cp", result.copy, `  convert / it ${result.ratio.toFixed(2)}`),
    ...(result.device === undefined ? [] : [line("dd oflag=direct", result.device)]),
    ...result.peers.map((peer) => line(peer.name, peer, `  it / convert ${peer.ratio.toFixed(1)}`)),
    ...result.left.map((text) => `  left out: ${text}`),
    `  peak memory by number of layers  ${memory.join(", ")}`,
  ]
}
