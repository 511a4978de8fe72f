/** Runs the kinds of benchmarks that are asked for, one after the other, and gives their rows. */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import { openCheckpoint } from "../checkpoint/open.ts"
import { UnsupportedError, UsageError } from "../errors.ts"
import { machineInfo } from "../native/machine.ts"
import type { MemoryStream, ValueCodec } from "../native/stream.ts"
import { measureConvert } from "./convert.ts"
import { decodeCases, measureDecode } from "./decode.ts"
import { measureMatvec, weightsToMultiply } from "./matvec.ts"
import { measureStreams, openStream, threadCounts } from "./memory.ts"
import { openRoom } from "./room.ts"
import { type BenchKind, type BenchRow, throwIfCancelled } from "./row.ts"
import { FORMS, type SyntheticWeight, storedSize, weightName, writeSynthetic } from "./synthetic.ts"

export interface Shape {
  readonly rows: number
  readonly columns: number
}

export interface BenchOptions {
  readonly kinds: readonly BenchKind[]
  /** A checkpoint whose weights are multiplied and that is converted; absent: made-up ones. */
  readonly path: string | undefined
  readonly codec: ValueCodec | undefined
  /** Of made-up weights that are multiplied. */
  readonly shape: Shape | undefined
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
  /** Tasks of all kinds; a task gives a row or some. */
  readonly done: number
  readonly total: number
  /** What is being measured. */
  readonly name: string
}

interface Task {
  readonly kind: BenchKind
  readonly name: string
  readonly run: (seconds: number) => Promise<readonly BenchRow[]>
}

/** What tasks share: options that are settled, and what goes at the end. */
interface Session {
  readonly options: BenchOptions
  readonly threads: number
  /** In use, and every other one that is to be compared, the best first. */
  readonly level: string
  readonly levels: readonly string[]
  readonly checkpoint: Checkpoint | undefined
  readonly stack: DisposableStack
}

/**
 * Measures everything; each kind has `seconds`, shared out evenly among its tasks. Throws what opening a checkpoint and
 * running a conversion throws, and CancelledError.
 */
export async function runBench(options: BenchOptions): Promise<BenchRow[]> {
  using stack = new DisposableStack()
  const { level, levels, threads } = machineInfo()
  const others = levels.filter(({ name, supported }) => supported && name !== level).map(({ name }) => name)
  const session: Session = {
    options,
    threads: options.threads > 0 ? options.threads : threads,
    level,
    levels: options.level === undefined ? [level, ...others] : [level],
    checkpoint: options.path === undefined ? undefined : await openCheckpoint(options.path),
    stack,
  }
  const tasks = (await Promise.all(options.kinds.map((kind) => TASKS[kind](session)))).flat()
  const rows: BenchRow[] = []
  for (const [done, { kind, name, run }] of tasks.entries()) {
    options.onProgress({ done, total: tasks.length, name })
    await Bun.sleep(0)
    throwIfCancelled(options.signal)
    rows.push(...(await run(options.seconds / tasks.filter((task) => task.kind === kind).length)))
  }
  throwIfCancelled(options.signal)
  return rows
}

const TASKS = {
  stream: streamTasks,
  decode: decodeTasks,
  matvec: matvecTasks,
  convert: convertTasks,
} as const satisfies Record<BenchKind, (session: Session) => Task[] | Promise<Task[]>>

function streamTasks({ options: { signal }, threads: most }: Session): Task[] {
  return threadCounts({ threads: most }).map((threads) => ({
    kind: "stream",
    name: `memory, ${threads} of ${most} threads`,
    run: (seconds) => measureStreams(threads, { seconds, signal }),
  }))
}

function decodeTasks({ options, threads, level, levels, stack }: Session): Task[] {
  const cases = decodeCases({ codec: options.codec, all: options.kinds.length === 1, levels, threads })
  let current: { readonly stream: MemoryStream; readonly threads: number } | undefined
  const streamOf = (count: number) => {
    if (current?.threads !== count) {
      current?.stream[Symbol.dispose]()
      current = { stream: stack.use(openStream(count)), threads: count }
    }
    return current.stream
  }
  return cases.map((one) => ({
    kind: "decode",
    name: `decode ${one.codec} to ${one.dtype}, ${one.level}`,
    run: async (seconds) => [
      await measureDecode(streamOf(one.threads), one, level, { seconds, signal: options.signal }),
    ],
  }))
}

/** Of gpt-oss: one that comes from memory, one that fits caches. */
const SHAPES: readonly Shape[] = [
  { rows: 65536, columns: 2880 },
  { rows: 2880, columns: 2880 },
]

/** Forms of made-up weights; a codec of another one is measured with a checkpoint of the user's. */
function formsOf(codec: ValueCodec | undefined, usual: readonly SyntheticWeight["form"][]): SyntheticWeight["form"][] {
  if (codec === undefined) return [...usual]
  return FORMS.filter((form) => form === codec)
}

interface Source {
  readonly checkpoint: Checkpoint
  readonly name: string
}

async function matvecTasks(session: Session): Promise<Task[]> {
  const { options, level, levels, threads } = session
  const sources = session.checkpoint === undefined ? await madeUpWeights(session) : storedWeights(session.checkpoint)
  const vector = levels.filter((each) => each !== "scalar" || levels.length === 1)
  const ways = [...vector.map((each) => ({ level: each, threads })), ...(threads === 1 ? [] : [{ level, threads: 1 }])]
  return sources.flatMap((source) =>
    ways.map((way) => ({
      kind: "matvec",
      name: `multiply ${source.name}, ${way.level}`,
      run: (seconds: number) => measureMatvec({ ...source, ...way }, level, { seconds, signal: options.signal }),
    })),
  )
}

function storedWeights(checkpoint: Checkpoint): Source[] {
  const names = weightsToMultiply(checkpoint)
  if (names.length === 0) throw new UnsupportedError(`${checkpoint.path}: has no quantized weight to multiply`)
  return names.map((name) => ({ checkpoint, name }))
}

async function madeUpWeights({ options, stack }: Session): Promise<Source[]> {
  const forms = formsOf(options.codec, ["mxfp4"])
  const shapes = options.shape === undefined ? SHAPES : [options.shape]
  const sources: Source[] = []
  for (const form of forms) {
    for (const shape of shapes) {
      const weight = { form, experts: 1, ...shape }
      const room = stack.use(openRoom(storedSize(weight) + (1 << 20)))
      await writeSynthetic(room.path, weight, options.signal)
      sources.push({ checkpoint: await openCheckpoint(room.path), name: weightName(weight) })
    }
  }
  return sources
}

/** The expert weights of a quarter of a layer of gpt-oss-20b, and as many values in FP8. */
const CONVERTED: readonly (SyntheticWeight & { readonly words: string })[] = [
  { form: "mxfp4", experts: 8, rows: 5760, columns: 2880, words: "made up, mxfp4" },
  { form: "mxfp4", experts: 8, rows: 5760, columns: 2880, transposed: true, words: "made up, mxfp4 transposed" },
  { form: "fp8_e4m3", experts: 8, rows: 5760, columns: 2880, words: "made up, fp8 blocks" },
]

async function convertTasks(session: Session): Promise<Task[]> {
  const { options, threads, stack } = session
  const task = (source: string, checkpointOf: () => Promise<Checkpoint>): Task => ({
    kind: "convert",
    name: `convert ${source}`,
    run: async (seconds) => [
      await measureConvert({ checkpoint: await checkpointOf(), source, threads }, { seconds, signal: options.signal }),
    ],
  })
  const { checkpoint } = session
  if (checkpoint !== undefined) return [task(checkpoint.path, async () => checkpoint)]
  const forms = formsOf(options.codec, FORMS)
  return CONVERTED.filter(({ form }) => forms.includes(form)).map(({ words, ...weight }) =>
    task(words, async () => {
      const room = stack.use(openRoom(storedSize(weight) + (1 << 20)))
      await writeSynthetic(room.path, weight, options.signal)
      return await openCheckpoint(room.path)
    }),
  )
}

/** Throws UsageError where what is asked for cannot be measured together. */
export function checkBench({ kinds, path, codec, shape }: Omit<BenchOptions, "onProgress" | "signal">): void {
  const [only] = kinds.length === 1 ? kinds : []
  if (path !== undefined && (only === "stream" || only === "decode")) {
    throw new UsageError(`--kind ${only} takes no path`, { hint: "matvec and convert measure a checkpoint" })
  }
  if (shape !== undefined && !kinds.includes("matvec")) throw new UsageError("--shape is for --kind matvec")
  if (shape !== undefined && path !== undefined) throw new UsageError("--shape is for made-up weights, not for a path")
  if (codec !== undefined && path !== undefined) throw new UsageError("--codec is for made-up weights, not for a path")
  if (codec === undefined || only === undefined || only === "decode") return
  if (only === "stream") throw new UsageError("--codec is for --kind decode, matvec and convert")
  const made: readonly string[] = only === "matvec" ? FORMS : CONVERTED.map(({ form }) => form)
  if (made.includes(codec)) return
  throw new UsageError(`--kind ${only} makes up weights of ${[...new Set(made)].join(", ")} alone, not of ${codec}`, {
    hint: "give it a checkpoint that has some",
  })
}
