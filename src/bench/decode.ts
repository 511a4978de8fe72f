/** How fast codecs decode from memory to memory, beside copies and writes around the caches in the same moments. */
import { Codec } from "../native/abi.gen.ts"
import { selectLevel } from "../native/machine.ts"
import type { MemoryStream, ValueCodec } from "../native/stream.ts"
import { streamPass } from "./memory.ts"
import { type Budget, type DecodeRow, summarizePasses, TURNS_MIN, takeTurns } from "./row.ts"

/** What a row decodes, and where. */
export type DecodeCase = Pick<DecodeRow, "codec" | "dtype" | "transposed" | "level" | "threads">

/** All codecs that have values. */
export const CODECS: readonly ValueCodec[] = Object.keys(Codec).filter(
  (name): name is ValueCodec => name !== "copy" && Object.hasOwn(Codec, name),
)

/** Of the formats that most models come in. */
export const COMMON_CODECS = [
  "mxfp4",
  "nvfp4",
  "fp8_e4m3",
  "gptq",
  "awq",
  "nf4",
  "q4_k",
  "q8_0",
] as const satisfies readonly ValueCodec[]

const DTYPES = ["bf16", "f16", "f32"] as const

export interface DecodeChoice {
  /** undefined: the common ones in every way that tells something, the others (with `all`) in the usual one. */
  readonly codec: ValueCodec | undefined
  readonly all: boolean
  /** Levels to compare, the one in use first. */
  readonly levels: readonly string[]
  readonly threads: number
}

/** The rows to measure. All of one number of threads stand together. */
export function decodeCases({ codec, all, levels, threads }: DecodeChoice): DecodeCase[] {
  const level = levels[0]!
  const usual = { dtype: "bf16", transposed: false, level, threads } as const
  const both = threads === 1 ? [1] : [threads, 1]
  if (codec !== undefined) {
    const ways = levels.flatMap((each) =>
      DTYPES.flatMap((dtype) => [false, true].map((transposed) => ({ codec, dtype, transposed, level: each }))),
    )
    return both.flatMap((count) => ways.map((way) => ({ ...way, threads: count })))
  }
  // Scalar code is the truth that others are compared with, and has no part in a race.
  const others = levels.slice(1).filter((each) => each !== "scalar")
  const common = COMMON_CODECS.flatMap((each): DecodeCase[] => [
    { codec: each, ...usual },
    { codec: each, ...usual, transposed: true },
    ...(["f16", "f32"] as const).map((dtype) => ({ codec: each, ...usual, dtype })),
    ...others.map((other) => ({ codec: each, ...usual, level: other })),
  ])
  const rest = all ? CODECS.filter((each) => !COMMON_CODECS.some((one) => one === each)) : []
  return [
    ...common,
    ...rest.map((each) => ({ codec: each, ...usual })),
    ...(threads === 1 ? [] : COMMON_CODECS.map((each) => ({ codec: each, ...usual, threads: 1 }))),
  ]
}

/** A pass may be of all memory of a stream, or of these parts of it where that would take too long. */
const PARTS = [1, 4, 16] as const
/** Seconds that a row may take at least, whatever its budget. */
const ROW_SECONDS = 0.1

/** Measures one row on the memory of its threads. The level in use is `limitLevel` afterwards. */
export async function measureDecode(
  stream: MemoryStream,
  what: DecodeCase,
  limitLevel: string,
  budget: Budget,
): Promise<DecodeRow> {
  const decode = (size: number) => {
    selectLevel(what.level)
    try {
      return stream.decode({ ...what, size })
    } finally {
      selectLevel(limitLevel)
    }
  }
  const sizeOf = (part: number) => Math.ceil(stream.size / part)
  const last = PARTS[PARTS.length - 1]!
  const whole = decode(sizeOf(last)).seconds * last
  const seconds = Math.max(budget.seconds, ROW_SECONDS)
  const size = sizeOf(PARTS.find((part) => (TURNS_MIN * whole) / part <= seconds) ?? last)
  // Makes up the matrices, and is not counted.
  const { elements } = decode(size)
  const [copy, write, passes] = await takeTurns(
    [() => streamPass(stream, "copy_streaming"), () => streamPass(stream, "write_streaming"), () => decode(size)],
    budget,
  )
  const measured = summarizePasses(passes!, [
    { name: "copy", passes: copy! },
    { name: "write", passes: write! },
  ])
  return { kind: "decode", ...what, ...measured, valuesPerSecond: elements / measured.seconds.median }
}
