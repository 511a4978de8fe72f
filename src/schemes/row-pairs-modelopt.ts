/**
 * What modelopt packs two rows to a byte:
 *
 *     INT4 AWQ (W4A16_AWQ)     P.weight           U8       [batch…, out/2, in], two's complement
 *                              P.weight_scale     BF16, F16 or F32 [batch…, out, in/g]
 *                              P.pre_quant_scale  [in], where it was not folded into the layer before
 *     NVFP4 of fused experts   P                  U8       [E, in/2, out]
 *                              P_weight_scale     F8_E4M3  [E, in/16, out]
 *                              P_weight_scale_2   F32      [] or [E]
 *
 * Fused experts (Llama 4, gpt-oss) are [E, in, out] in the dense model too, so that they keep their orientation.
 * Source: nvidia-modelopt 0.47.0, export/quant_utils.py, export/unified_export_hf.py.
 */
import type { StoredTensor } from "../containers/container.ts"
import { elementCount } from "../containers/dtype.ts"
import { tensorFault, tensorLine } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { UnsupportedError } from "../errors.ts"
import type { CodecName } from "../native/abi.gen.ts"
import { isScaleDtype, missingPart, scaleDtype } from "./fp8.ts"
import { requireDtype, requireShape } from "./mxfp4.ts"
import { columnDtype, columnSource, NVFP4_GROUP, wholeSource } from "./nvfp4.ts"
import type { MatchContext, Scheme, Weight } from "./scheme.ts"

const INT4_NAME = "int4-modelopt"
const NVFP4_NAME = "nvfp4-experts-modelopt"
/** The number of E4M3 in kernels/codecs/scale.zig. */
const E4M3 = 6

export const int4Modelopt: Scheme = {
  name: INT4_NAME,
  row: {
    title: "INT4 AWQ (modelopt)",
    declaredAs: "modelopt, W4A16_AWQ",
    stored: "P.weight U8 [out/2, in], P.weight_scale [out, in/g]",
    codec: "int4_row_pairs",
    bitsPerWeight: "4.13 to 4.25",
    reference: "nvidia-modelopt",
  },
  declared: ({ declared }) => declared?.method === "modelopt" && declared.settings.get("quant_algo") === "W4A16_AWQ",
  match: matchInt4,
}

export const nvfp4ExpertsModelopt: Scheme = {
  name: NVFP4_NAME,
  row: {
    title: "NVFP4 fused experts (modelopt)",
    declaredAs: "modelopt, NVFP4",
    stored: "P U8 [E, in/2, out], P_weight_scale F8_E4M3 [E, in/16, out], P_weight_scale_2 F32 []",
    codec: "nvfp4_row_pairs",
    bitsPerWeight: "4.50",
    reference: "nvidia-modelopt",
  },
  declared: () => false,
  match: matchNvfp4,
}

/** BitNet and MXFP4 have codes and scales of these names too; here there are twice as many rows of scales. */
function matchInt4(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (codes.dtype !== "U8" || !codes.name.endsWith(".weight")) return undefined
  const scales = context.tensor(`${codes.name}_scale`)
  if (scales === undefined || !["BF16", "F16", "F32"].includes(scales.dtype)) return undefined
  const pairs = codes.shape.at(-2)
  const columns = codes.shape.at(-1)
  const groups = scales.shape.at(-1)
  if (pairs === undefined || columns === undefined || scales.shape.at(-2) !== 2 * pairs || !groups) return undefined
  if (context.tensor(`${codes.name}_scale_2`) !== undefined) {
    throw new UnsupportedError(
      tensorLine(
        codes.file.path,
        codes.name,
        "INT4 AWQ under a second quantization to FP8 (W4A8_AWQ) is not supported",
      ),
    )
  }
  requireShape(scales, "INT4 scales", [...codes.shape.slice(0, -2), 2 * pairs, groups])
  if (columns % groups !== 0) {
    throw tensorFault(scales.file.path, scales.name, "INT4 scales have the wrong shape", {
      expected: `a number of groups that divides ${columns}`,
      found: shapeText(scales.shape),
    })
  }
  const columnScales = context.tensor(codes.name.replace(/weight$/, "pre_quant_scale"))
  const parts = { codes, scales, whole: undefined, columnScales, groupRows: 1, groupColumns: columns / groups }
  return pairWeight({ name: codes.name, scheme: INT4_NAME, codec: "int4_row_pairs", ...parts })
}

function matchNvfp4(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (codes.dtype !== "U8" || codes.shape.length !== 3) return undefined
  const scales = context.tensor(`${codes.name}_weight_scale`)
  if (scales?.dtype !== "F8_E4M3") return undefined
  const whole = context.tensor(`${codes.name}_weight_scale_2`)
  if (whole === undefined) {
    missingPart(codes, "NVFP4 codes without the scale of the whole", `${codes.name}_weight_scale_2`, context)
  }
  const [experts = 0, pairs = 0, columns = 0] = codes.shape
  if ((2 * pairs) % NVFP4_GROUP !== 0) {
    throw tensorFault(codes.file.path, codes.name, "NVFP4 codes have the wrong shape", {
      expected: "[E, in/2, out] with whole groups of 8 rows",
      found: shapeText(codes.shape),
    })
  }
  requireShape(scales, "NVFP4 scales", [experts, (2 * pairs) / NVFP4_GROUP, columns])
  requireDtype(whole, "the NVFP4 scale of the whole", ["F32"])
  const parts = { codes, scales, whole, columnScales: undefined, groupRows: NVFP4_GROUP, groupColumns: 1 }
  return pairWeight({ name: codes.name, scheme: NVFP4_NAME, codec: "nvfp4_row_pairs", ...parts })
}

interface PairParts extends Pick<Weight, "name" | "scheme"> {
  readonly codec: Extract<CodecName, "int4_row_pairs" | "nvfp4_row_pairs">
  /** U8 [batch…, rows/2, columns]. */
  readonly codes: StoredTensor
  /** [batch…, rows / groupRows, columns / groupColumns]. */
  readonly scales: StoredTensor
  readonly whole: StoredTensor | undefined
  readonly columnScales: StoredTensor | undefined
  readonly groupRows: number
  readonly groupColumns: number
}

function pairWeight(parts: PairParts): Weight {
  const { name, scheme, codec, codes, scales, whole, columnScales, groupRows, groupColumns } = parts
  const leading = codes.shape.slice(0, -2)
  const batch = elementCount(leading) ?? 0
  const columns = codes.shape.at(-1)!
  const rows = 2 * codes.shape.at(-2)!
  if (batch * rows * columns === 0) {
    throw tensorFault(codes.file.path, codes.name, "quantized weight without values", { found: shapeText(codes.shape) })
  }
  const scaleBytes = scales.size / elementCount(scales.shape)!
  const lineBytes = (columns / groupColumns) * scaleBytes
  const perBatch = (bytes: number) => (batch === 1 ? 0 : bytes)
  return {
    name,
    scheme,
    codec,
    sources: [
      {
        role: "codes",
        tensor: codes,
        rowsPerLine: 2,
        lineBytes: columns,
        batchBytes: perBatch((rows / 2) * columns),
        unitColumns: 1,
        unitBytes: 1,
      },
      {
        role: "scales",
        tensor: scales,
        rowsPerLine: groupRows,
        lineBytes,
        batchBytes: perBatch((rows / groupRows) * lineBytes),
        unitColumns: groupColumns,
        unitBytes: scaleBytes,
      },
      ...(whole === undefined ? [] : [wholeSource(whole, batch)]),
      ...(columnScales === undefined ? [] : [columnSource(columnScales, columns)]),
    ],
    batch,
    rows,
    columns,
    rowAlign: 1,
    columnAlign: 1,
    parameters: [
      isScaleDtype(scales.dtype) ? scaleDtype(scales.dtype) : E4M3,
      groupColumns,
      whole === undefined ? 0 : 1,
      columnDtype(columnScales),
    ],
    shape: [...leading, rows, columns],
    orientation: "as-stored",
  }
}
