/**
 * Signed bytes under scales:
 *
 *     compressed-tensors, int-quantized and naive-quantized; modelopt, INT8
 *         P.weight             I8 [batch…, out, in]; fewer bits than eight are a byte each too
 *         P.weight_scale       BF16, F16 or F32: [1], [out], [out, 1], [out, in/g] or a grid of blocks
 *         P.weight_zero_point  I8, as the scales, where it is asymmetric
 *     bitsandbytes, LLM.int8
 *         P.weight             I8 [out, in]
 *         P.SCB                F32 [out], the largest magnitude of each row
 *         P.weight_format      U8 [], 0 for rows
 *
 * Sources: compressed_tensors 0.20.0, compressors/naive_quantized; bitsandbytes 0.50.2, backends/default/ops.py
 * (int8_vectorwise_dequant).
 */
import type { StoredTensor } from "../containers/container.ts"
import { isJsonObject } from "../containers/json.ts"
import { quote, tensorFault, tensorLine } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { readTensorBytes } from "../containers/tensor-bytes.ts"
import { UnsupportedError } from "../errors.ts"
import { declaresFormat, groupOf } from "./compressed-tensors.ts"
import { floatBits } from "./dense.ts"
import { declaredBlock, declaresMethod } from "./fp8.ts"
import { floatDtype, type IntegerForm, integerParameters, placedSource, placeIntegerScales } from "./integers.ts"
import { requireDtype, requireShape } from "./mxfp4.ts"
import type { Placement } from "./scale-grid.ts"
import type { MatchContext, Scheme, Weight, WeightSource } from "./scheme.ts"

const CODES = ".weight"

export const int8: Scheme = {
  name: "int8",
  row: {
    title: "INT8 (compressed-tensors, modelopt)",
    declaredAs: "compressed-tensors, int-quantized, naive-quantized; modelopt",
    stored: "P.weight I8 [out, in], P.weight_scale [1], [out, 1], [out, in/g]",
    codec: "int8",
    bitsPerWeight: "8.00 to 8.25",
    reference: "compressed-tensors",
  },
  declared: (checkpoint) => declaresFormat(checkpoint, "int-quantized", "naive-quantized"),
  match: matchScaled,
}

export const int8Bitsandbytes: Scheme = {
  name: "int8-bitsandbytes",
  row: {
    title: "LLM.int8 (bitsandbytes)",
    declaredAs: "bitsandbytes, load_in_8bit",
    stored: "P.weight I8 [out, in], P.SCB F32 [out]",
    codec: "int8",
    bitsPerWeight: "8.01",
    reference: "bitsandbytes",
  },
  declared: (checkpoint) =>
    declaresMethod(checkpoint, "bitsandbytes") && checkpoint.declared?.settings.get("load_in_8bit") === true,
  match: matchAbsmax,
}

function matchScaled(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (codes.dtype !== "I8" || !codes.name.endsWith(CODES)) return undefined
  const scales = context.tensor(`${codes.name}_scale`)
  if (scales === undefined) return undefined
  const module = codes.name.slice(0, -CODES.length)
  const dtype = floatDtype(scales)
  const weights = groupOf(context.checkpoint, module)?.get("weights")
  const block = isJsonObject(weights) ? declaredBlock(weights.get("block_structure")) : undefined
  const placement = placeIntegerScales(codes, codes.shape, scales, block)
  const zeros = context.tensor(`${codes.name}_zero_point`)
  if (zeros !== undefined) {
    requireDtype(zeros, "zero points", ["I8"])
    requireShape(zeros, "zero points", scales.shape)
  }
  const sources = [placedSource("scales", scales, placement)]
  if (zeros !== undefined) sources.push(placedSource("zero points", zeros, placement))
  // compressed-tensors computes in the dtype of the scales, modelopt in float32.
  const arithmetic = declaresMethod(context.checkpoint, "modelopt") ? "F32" : dtype
  const form = { dtype, width: placement.width, zeros: zeros === undefined ? "none" : "bytes", arithmetic } as const
  return bytesWeight(codes, int8.name, placement, sources, form)
}

function matchAbsmax(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (codes.dtype !== "I8" || !codes.name.endsWith(CODES)) return undefined
  const module = codes.name.slice(0, -CODES.length)
  const absmax = context.tensor(`${module}.SCB`)
  if (absmax === undefined) return undefined
  const [rows] = codes.shape
  if (codes.shape.length !== 2 || rows === undefined) {
    throw tensorFault(codes.file.path, codes.name, "LLM.int8 codes have the wrong shape", {
      expected: "[out, in]",
      found: shapeText(codes.shape),
    })
  }
  requireDtype(absmax, "the absmax of rows", ["F32"])
  requireShape(absmax, "the absmax of rows", [rows])
  const order = context.tensor(`${codes.name}_format`)
  if (order !== undefined) requireRows(order)
  const placement = placeIntegerScales(codes, codes.shape, absmax, undefined)
  const form = { dtype: "F32", width: 0, arithmetic: "F32", variant: floatBits(1 / 127) } as const
  const weight = bytesWeight(codes, int8Bitsandbytes.name, placement, [placedSource("absmax", absmax, placement)], form)
  return order === undefined ? weight : { ...weight, sides: [order] }
}

/** Orders of the first GPU kernels (col32, col_turing, col_ampere) are no rows. */
function requireRows(order: StoredTensor): void {
  requireDtype(order, "the format of LLM.int8 codes", ["U8"])
  const [code] = readTensorBytes(order, 8)
  if (code === 0) return
  const what = `says that the codes are in the order of a GPU's kernels (${code}): ${quote("row")} alone is supported`
  throw new UnsupportedError(tensorLine(order.file.path, order.name, what))
}

function bytesWeight(
  codes: StoredTensor,
  scheme: string,
  placement: Placement,
  others: readonly WeightSource[],
  form: Omit<IntegerForm, "bits">,
): Weight {
  const { batch, rows, columns } = placement.matrix
  const codeSource = {
    role: "codes",
    tensor: codes,
    rowsPerLine: 1,
    lineBytes: columns,
    batchBytes: batch === 1 ? 0 : rows * columns,
    unitColumns: 1,
    unitBytes: 1,
  }
  return {
    name: codes.name,
    scheme,
    codec: "int8",
    sources: [codeSource, ...others],
    ...placement.matrix,
    rowAlign: 1,
    columnAlign: 1,
    parameters: integerParameters({ bits: 8, ...form }),
    shape: codes.shape,
    orientation: "as-stored",
  }
}
