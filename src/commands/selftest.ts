/**
 * The self-test of the kernels: a small matrix of each codec is decoded at every level of this CPU, as stored and
 * transposed, and compared with bytes that come from the formats' own definitions, not from this program:
 * OCP Microscaling Formats v1.0 (E2M1 × E8M0) and IEEE 754, worked out with numpy and ml_dtypes 0.6.0.
 */
import type { CodecName, DtypeName } from "../native/abi.gen.ts"
import { decodeMatrix, type Matrix } from "../native/decode.ts"
import { machineInfo, selectLevel } from "../native/machine.ts"

type FloatDtype = Exclude<DtypeName, "bytes">

interface GoldenRow {
  readonly scale: number
  /** The E2M1 codes 0…7 times the scale; the codes 8…15 are their negatives. Bits of F32 and of F16, in hexadecimal. */
  readonly f32: string
  readonly f16: string
}

/** 2^-127, 2^-126, results that are subnormal in F16 (one rounds to 2^-24), ordinary ones, overflow in F16. */
const GOLDEN: readonly GoldenRow[] = [
  {
    scale: 0,
    f32: "00000000 00200000 00400000 00600000 00800000 00c00000 01000000 01400000",
    f16: "0000 0000 0000 0000 0000 0000 0000 0000",
  },
  {
    scale: 1,
    f32: "00000000 00400000 00800000 00c00000 01000000 01400000 01800000 01c00000",
    f16: "0000 0000 0000 0000 0000 0000 0000 0000",
  },
  {
    scale: 100,
    f32: "00000000 31800000 32000000 32400000 32800000 32c00000 33000000 33400000",
    f16: "0000 0000 0000 0000 0000 0000 0000 0001",
  },
  {
    scale: 112,
    f32: "00000000 37800000 38000000 38400000 38800000 38c00000 39000000 39400000",
    f16: "0000 0100 0200 0300 0400 0600 0800 0a00",
  },
  {
    scale: 127,
    f32: "00000000 3f000000 3f800000 3fc00000 40000000 40400000 40800000 40c00000",
    f16: "0000 3800 3c00 3e00 4000 4200 4400 4600",
  },
  {
    scale: 128,
    f32: "00000000 3f800000 40000000 40400000 40800000 40c00000 41000000 41400000",
    f16: "0000 3c00 4000 4200 4400 4600 4800 4a00",
  },
  {
    scale: 142,
    f32: "00000000 46800000 47000000 47400000 47800000 47c00000 48000000 48400000",
    f16: "0000 7400 7800 7a00 7c00 7c00 7c00 7c00",
  },
  {
    scale: 250,
    f32: "00000000 7c800000 7d000000 7d400000 7d800000 7dc00000 7e000000 7e400000",
    f16: "0000 7c00 7c00 7c00 7c00 7c00 7c00 7c00",
  },
]

const BLOCK_COLUMNS = 32
const COLUMNS = GOLDEN.length * BLOCK_COLUMNS
/** Odd, so that kernels which take several rows at once have a rest. */
const ROWS = 19

const DTYPES: readonly FloatDtype[] = ["f32", "f16", "bf16"]

/** Each row begins with another code and another scale, so that a value out of place shows. */
const codeAt = (row: number, column: number): number => (row + column) % 16
const goldenAt = (row: number, column: number): GoldenRow => {
  const golden = GOLDEN[(row + Math.floor(column / BLOCK_COLUMNS)) % GOLDEN.length]
  if (golden === undefined) throw new Error("the golden table is empty")
  return golden
}

/** Bits of the value at row and column. Every golden F32 has zeros below BF16's digits, so BF16 is its upper half. */
function expectedBits(row: number, column: number, dtype: FloatDtype): number {
  const code = codeAt(row, column)
  const golden = goldenAt(row, column)
  const words = (dtype === "f16" ? golden.f16 : golden.f32).split(" ")
  const bits = Number.parseInt(words[code & 7] ?? "", 16)
  const negative = code >= 8
  if (dtype === "f32") return (negative ? bits | 0x80000000 : bits) >>> 0
  return (dtype === "bf16" ? bits >>> 16 : bits) | (negative ? 0x8000 : 0)
}

/** The whole matrix in `dtype`, little endian; columns × rows where `transposed`. */
function expectedBytes(dtype: FloatDtype, transposed: boolean): Uint8Array {
  const width = dtype === "f32" ? 4 : 2
  const view = new DataView(new ArrayBuffer(ROWS * COLUMNS * width))
  for (let row = 0; row < ROWS; row++) {
    for (let column = 0; column < COLUMNS; column++) {
      const index = transposed ? column * ROWS + row : row * COLUMNS + column
      const bits = expectedBits(row, column, dtype)
      if (width === 4) view.setUint32(index * 4, bits, true)
      else view.setUint16(index * 2, bits, true)
    }
  }
  return new Uint8Array(view.buffer)
}

function mxfp4Sources(): Matrix["sources"] {
  const codes = Uint8Array.from({ length: (ROWS * COLUMNS) / 2 }, (_, index) => {
    const row = Math.floor((2 * index) / COLUMNS)
    const column = (2 * index) % COLUMNS
    return codeAt(row, column) | (codeAt(row, column + 1) << 4)
  })
  const blocks = COLUMNS / BLOCK_COLUMNS
  const scales = Uint8Array.from(
    { length: ROWS * blocks },
    (_, index) => goldenAt(Math.floor(index / blocks), (index % blocks) * BLOCK_COLUMNS).scale,
  )
  return [
    { bytes: codes, rowsPerLine: 1, lineBytes: COLUMNS / 2, unitColumns: BLOCK_COLUMNS, unitBytes: BLOCK_COLUMNS / 2 },
    { bytes: scales, rowsPerLine: 1, lineBytes: blocks, unitColumns: BLOCK_COLUMNS, unitBytes: 1 },
  ]
}

interface Case {
  readonly codec: CodecName
  readonly dtypes: readonly FloatDtype[]
  readonly sources: Matrix["sources"]
}

/** A dense codec reads the golden values themselves, to every dtype in which they are the same numbers. */
function denseCase(codec: FloatDtype, dtypes: readonly FloatDtype[]): Case {
  const width = codec === "f32" ? 4 : 2
  const bytes = expectedBytes(codec, false)
  return {
    codec,
    dtypes,
    sources: [{ bytes, rowsPerLine: 1, lineBytes: COLUMNS * width, unitColumns: 1, unitBytes: width }],
  }
}

/** F16 has lost the smallest and largest golden values, so it is only read as itself. */
const casesOf = (): readonly Case[] => [
  { codec: "mxfp4", dtypes: DTYPES, sources: mxfp4Sources() },
  denseCase("f32", DTYPES),
  denseCase("bf16", DTYPES),
  denseCase("f16", ["f16"]),
]

export interface LevelResult {
  readonly level: string
  readonly supported: boolean
  /** Decoded matrices compared. */
  readonly compared: number
  /** "mxfp4 to f16 transposed: element 12 is 0x7c00, expected 0x0000"; undefined: all equal. */
  readonly mismatch: string | undefined
}

function firstDifference(found: Uint8Array, expected: Uint8Array, width: number): string | undefined {
  const at = expected.findIndex((byte, index) => found[index] !== byte)
  if (at < 0 && found.length === expected.length) return undefined
  const element = Math.floor(at / width)
  const hex = (bytes: Uint8Array): string =>
    `0x${[...bytes.slice(element * width, (element + 1) * width)]
      .reverse()
      .map((byte) => byte.toString(16).padStart(2, "0"))
      .join("")}`
  return `element ${element} is ${hex(found)}, expected ${hex(expected)}`
}

function testLevel(level: string, cases: readonly Case[]): LevelResult {
  let compared = 0
  for (const { codec, dtypes, sources } of cases) {
    for (const dtype of dtypes) {
      for (const transposed of [false, true]) {
        const { bytes } = decodeMatrix({ codec, dtype, rows: ROWS, columns: COLUMNS, transposed, sources })
        const difference = firstDifference(bytes, expectedBytes(dtype, transposed), dtype === "f32" ? 4 : 2)
        compared += 1
        if (difference === undefined) continue
        const form = transposed ? " transposed" : ""
        return { level, supported: true, compared, mismatch: `${codec} to ${dtype}${form}: ${difference}` }
      }
    }
  }
  return { level, supported: true, compared, mismatch: undefined }
}

/** Tests every level that this CPU has, and leaves the level in use as it was. */
export function selfTest(): readonly LevelResult[] {
  const { level: before, levels } = machineInfo()
  const cases = casesOf()
  try {
    return levels.map(({ name, supported }) => {
      if (!supported) return { level: name, supported, compared: 0, mismatch: undefined }
      selectLevel(name)
      return testLevel(name, cases)
    })
  } finally {
    selectLevel(before)
  }
}
