/**
 * What the formats share whose matrices are stored [out, in] with a scale, and a zero, for groups of columns: HQQ, BitNet
 * and AWQ in the layout of its GEMV kernel. The first two put codes of several matrices into a byte; these are the batch.
 */
import type { StoredTensor } from "../containers/container.ts"
import type { CodecName } from "../native/abi.gen.ts"
import { isScaleDtype, scaleDtype } from "./fp8.ts"
import { requireDtype } from "./mxfp4.ts"
import type { Weight, WeightSource } from "./scheme.ts"

/** Scales, or zeros, of a matrix: one for each `width` columns of a line. */
export interface Beside {
  readonly tensor: StoredTensor
  /** Rows that share a line; 0: all. */
  readonly rowsPerLine: number
  /** Columns that share a value; 0: all. */
  readonly width: number
  readonly unitBytes: number
  readonly lineBytes: number
  /** Bytes from the values of one matrix of the batch to those of the next; 0: shared. */
  readonly batchBytes: number
}

export interface AffineRowsParts extends Pick<Weight, "name" | "scheme" | "batch" | "rows" | "columns" | "shape"> {
  readonly codec: Extract<CodecName, "awq_gemv" | "hqq" | "bitnet">
  readonly codes: StoredTensor
  /** Columns whose codes share a byte. */
  readonly byteColumns: number
  readonly scales: Beside
  readonly zeros?: Beside
  /** The codec's own numbers. */
  readonly parameters: readonly number[]
  readonly sides?: readonly StoredTensor[]
}

export function affineRowsWeight(parts: AffineRowsParts): Weight {
  const { name, scheme, codec, codes, byteColumns, scales, zeros, batch, rows, columns, shape, sides } = parts
  const { dtype } = scales.tensor
  requireDtype(scales.tensor, "scales", ["F16", "BF16", "F32"])
  if (!isScaleDtype(dtype)) throw new Error(`${dtype} is not a dtype of scales`)
  const code = { role: "codes", tensor: codes, rowsPerLine: 1, lineBytes: columns / byteColumns, batchBytes: 0 }
  return {
    name,
    scheme,
    codec,
    sources: [
      { ...code, unitColumns: byteColumns, unitBytes: 1 },
      besideSource("scales", scales),
      ...(zeros === undefined ? [] : [besideSource("zeros", zeros)]),
    ],
    ...(sides === undefined ? {} : { sides }),
    batch,
    rows,
    columns,
    rowAlign: 1,
    columnAlign: byteColumns,
    parameters: [scaleDtype(dtype), scales.width, ...parts.parameters],
    shape,
    orientation: "as-stored",
  }
}

function besideSource(role: string, beside: Beside): WeightSource {
  const { tensor, rowsPerLine, lineBytes, batchBytes, width } = beside
  const unit = width === 0 ? { unitColumns: 0, unitBytes: 0 } : { unitColumns: width, unitBytes: beside.unitBytes }
  return { role, tensor, rowsPerLine, lineBytes, batchBytes, ...unit }
}
