/** One small matrix decoded in this thread: for self-tests and for reading single values. Larger work is a job's. */
import { ptr } from "bun:ffi"
import { Codec, type CodecName, DecodeRequest, Dtype, type DtypeName, NONE } from "./abi.gen.ts"
import { assertOk, native, statusName } from "./library.ts"
import { limitError } from "./report.ts"
import { packStruct, safeNumber } from "./struct.ts"

export interface MatrixSource {
  readonly bytes: Uint8Array
  /** As in kernels/abi.zig: Source. */
  readonly rowsPerLine: number
  readonly lineBytes: number
  readonly unitColumns: number
  readonly unitBytes: number
}

export interface Matrix {
  readonly codec: CodecName
  readonly dtype: Exclude<DtypeName, "bytes">
  /** Stored shape. */
  readonly rows: number
  readonly columns: number
  /** The result is columns × rows. */
  readonly transposed?: boolean
  readonly parameters?: readonly number[]
  readonly sources: readonly MatrixSource[]
}

export interface DecodedMatrix {
  /** Elements of `dtype`, row-major, little endian. */
  readonly bytes: Uint8Array
  /** Results that are NaN or infinite. */
  readonly nonFiniteCount: number
}

/** What native code uses at the moment: an address alone would not keep a typed array from being freed. */
const lent = new Set<unknown>()

/** Decodes at the level in use. A matrix that the codec cannot take is a fault of ours. */
export function decodeMatrix(matrix: Matrix): DecodedMatrix {
  const width = matrix.dtype === "f32" ? 4 : 2
  const target = new Uint8Array(matrix.rows * matrix.columns * width)
  const nonFinite = new BigUint64Array(1)
  lent.add(matrix).add(target)
  const request = packStruct(DecodeRequest, {
    codec: Codec[matrix.codec],
    dtype: Dtype[matrix.dtype],
    transposed: matrix.transposed === true ? 1 : 0,
    source_count: matrix.sources.length,
    rows: matrix.rows,
    columns: matrix.columns,
    target: address(target),
    target_size: target.byteLength,
    parameters: matrix.parameters ?? [],
    sources: matrix.sources.map((source) => ({
      file: NONE,
      rows_per_line: source.rowsPerLine,
      offset: 0,
      size: source.bytes.byteLength,
      line_bytes: source.lineBytes,
      batch_bytes: 0,
      unit_columns: source.unitColumns,
      unit_bytes: source.unitBytes,
    })),
    addresses: matrix.sources.map((source) => address(source.bytes)),
  })
  const status = native().dq_decode(request, nonFinite)
  lent.clear()
  const limit = limitError(statusName(status))
  if (limit !== undefined) throw limit
  assertOk("dq_decode", status)
  return { bytes: target, nonFiniteCount: safeNumber(nonFinite[0]!) }
}

function address(bytes: Uint8Array): number {
  return bytes.byteLength === 0 ? 0 : Number(ptr(bytes))
}
