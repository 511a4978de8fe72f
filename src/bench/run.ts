/** Runs the kinds of benchmarks that are asked for, one after the other, and gives their rows. */
import { machineInfo } from "../native/machine.ts"
import type { ValueCodec } from "../native/stream.ts"
import { decodeCases, measureDecode } from "./decode.ts"
import { measureStreams, openStream, threadCounts } from "./memory.ts"
import { type BenchKind, type BenchRow, throwIfCancelled } from "./row.ts"

export interface BenchOptions {
  readonly kinds: readonly BenchKind[]
  readonly codec: ValueCodec | undefined
  /** Most threads; 0: one for each allowed physical core. */
  readonly threads: number
  /** The only level, where one was chosen. */
  readonly level: string | undefined
  /** Of measuring, for each kind. */
  readonly seconds: number
  readonly onProgress: (progress: BenchProgress) => void
  readonly signal: AbortSignal
}

export interface BenchProgress {
  /** Rows of all kinds. */
  readonly done: number
  readonly total: number
  /** What is being measured. */
  readonly name: string
}

/** Something that gives one row or more. */
export interface Task {
  readonly kind: BenchKind
  readonly name: string
  readonly run: (seconds: number) => Promise<readonly BenchRow[]>
}

/** Measures everything; each kind has `seconds`, shared out evenly among its tasks. Throws CancelledError. */
export async function runBench(options: BenchOptions): Promise<BenchRow[]> {
  using stack = new DisposableStack()
  const tasks = options.kinds.flatMap((kind) => tasksOf(kind, options, stack))
  const rows: BenchRow[] = []
  for (const [done, { kind, name, run }] of tasks.entries()) {
    options.onProgress({ done, total: tasks.length, name })
    await Bun.sleep(0)
    throwIfCancelled(options.signal)
    rows.push(...(await run(options.seconds / tasks.filter((task) => task.kind === kind).length)))
  }
  return rows
}

function tasksOf(kind: BenchKind, options: BenchOptions, stack: DisposableStack): Task[] {
  switch (kind) {
    case "stream":
      return streamTasks(options)
    case "decode":
      return decodeTasks(options, stack)
  }
}

function mostThreads({ threads }: BenchOptions): number {
  return threads > 0 ? threads : machineInfo().threads
}

function streamTasks(options: BenchOptions): Task[] {
  const { signal } = options
  return threadCounts({ threads: mostThreads(options) }).map((threads) => ({
    kind: "stream",
    name: `memory, ${threads} of ${mostThreads(options)} threads`,
    run: (seconds) => measureStreams(threads, { seconds, signal }),
  }))
}

function decodeTasks(options: BenchOptions, stack: DisposableStack): Task[] {
  const { level, levels } = machineInfo()
  const others = levels.filter(({ name, supported }) => supported && name !== level).map(({ name }) => name)
  const cases = decodeCases({
    codec: options.codec,
    all: options.kinds.length === 1,
    levels: options.level === undefined ? [level, ...others] : [level],
    threads: mostThreads(options),
  })
  let stream: ReturnType<typeof openStream> | undefined
  let streamThreads = 0
  const streamOf = (threads: number) => {
    if (stream !== undefined && streamThreads === threads) return stream
    stream?.[Symbol.dispose]()
    stream = stack.use(openStream(threads))
    streamThreads = threads
    return stream
  }
  return cases.map((one) => ({
    kind: "decode",
    name: `decode ${one.codec} to ${one.dtype}, ${one.level}`,
    run: async (seconds) => [
      await measureDecode(streamOf(one.threads), one, level, { seconds, signal: options.signal }),
    ],
  }))
}
