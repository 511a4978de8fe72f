/** How memory itself is read and copied, by each number of threads: what everything else is told against. */
import type { StreamName } from "../native/abi.gen.ts"
import { type MachineInfo, machineInfo } from "../native/machine.ts"
import { MemoryStream } from "../native/stream.ts"
import { type Budget, type Pass, type StreamRow, summarizePasses, takeTurns } from "./row.ts"

/** Bytes of a pass: beyond the caches, and enough for each of many threads. */
const PASS_BYTES = 128 * 2 ** 20
const PASS_BYTES_PER_THREAD = 16 * 2 ** 20
/** Of the memory that is free, a pass may read and write so much each. */
const MEMORY_SHARE = 1 / 8
const PAGE = 4096

const ACCESSES = [
  "read",
  "read_interleaved",
  "copy",
  "copy_streaming",
  "write_streaming",
] as const satisfies readonly StreamName[]

/** The accesses in words. */
export const ACCESS_WORDS: Readonly<Record<StreamName, string>> = {
  read: "read",
  read_interleaved: "read, four runs side by side",
  copy: "copy",
  copy_streaming: "copy around the caches",
  write_streaming: "write around the caches",
}

/** Memory for passes of `threads` workers that are bound to cores. */
export function openStream(threads: number): MemoryStream {
  const { memoryAvailable } = machineInfo()
  const wanted = Math.max(PASS_BYTES, threads * PASS_BYTES_PER_THREAD)
  const affordable = Math.floor((memoryAvailable * MEMORY_SHARE) / PAGE) * PAGE
  return new MemoryStream({ threads, numa: true, size: Math.max(PAGE * threads, Math.min(wanted, affordable)) })
}

/** One pass of an access, as a row counts it. */
export function streamPass(stream: MemoryStream, access: StreamName): Pass {
  const seconds = stream.measure(access)
  return {
    seconds,
    bytesRead: access === "write_streaming" ? 0 : stream.size,
    bytesWritten: access.startsWith("read") ? 0 : stream.size,
  }
}

/** 1 … all; of many the powers of two and all. */
export function threadCounts({ threads }: Pick<MachineInfo, "threads">): number[] {
  const every = Array.from({ length: threads }, (_, i) => i + 1)
  return threads <= 8 ? every : every.filter((count) => count === threads || (count & (count - 1)) === 0)
}

/** The rows of one number of threads; all four accesses take turns. */
export async function measureStreams(threads: number, budget: Budget): Promise<StreamRow[]> {
  using stream = openStream(threads)
  const passes = await takeTurns(
    ACCESSES.map((access) => () => streamPass(stream, access)),
    budget,
  )
  return ACCESSES.map((access, i) => ({ kind: "stream", access, threads, ...summarizePasses(passes[i]!) }))
}
