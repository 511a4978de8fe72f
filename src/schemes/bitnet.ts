/**
 * BitNet b1.58 as transformers stores it:
 *
 *     P.weight        U8 [out/4, in]          byte (r, i) holds rows r, r + out/4, … in two bits each, lowest first
 *     P.weight_scale  BF16, F16 or F32 [1]    divides (BitLinear) or multiplies (AutoBitLinear, `linear_class`)
 *
 * Source: transformers 5.23.0, integrations/bitnet.py. Norms that a config adds to these layers (`use_rms_norm`) are
 * tensors of their own and stay as they are.
 */
import type { StoredTensor } from "../containers/container.ts"
import { elementCount } from "../containers/dtype.ts"
import { tensorFault } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { affineRowsWeight } from "./affine-rows.ts"
import { declaresMethod, missingPart } from "./fp8.ts"
import { requireDtype } from "./mxfp4.ts"
import type { MatchContext, Scheme, Weight } from "./scheme.ts"

const NAME = "bitnet"
/** Codes in a byte. */
const BYTE_CODES = 4

export const bitnet: Scheme = {
  name: NAME,
  row: {
    title: "BitNet b1.58",
    declaredAs: "bitnet",
    stored: "P.weight U8 [out/4, in], P.weight_scale [1]",
    codec: "bitnet",
    bitsPerWeight: "2.00",
    reference: "transformers",
  },
  declared: (checkpoint) => declaresMethod(checkpoint, "bitnet"),
  match,
}

function match(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (!declaresMethod(context.checkpoint, "bitnet") || codes.dtype !== "U8") return undefined
  if (!codes.name.endsWith(".weight")) return undefined
  const scales = context.tensor(`${codes.name}_scale`)
  if (scales === undefined) missingPart(codes, "BitNet codes without a scale", `${codes.name}_scale`, context)
  requireDtype(scales, "BitNet scales", ["BF16", "F16", "F32"])
  if (elementCount(scales.shape) !== 1) {
    throw tensorFault(scales.file.path, scales.name, "BitNet scales have the wrong shape", {
      expected: "one value",
      found: shapeText(scales.shape),
    })
  }
  const [rows = 0, columns = 0] = codes.shape
  if (codes.shape.length !== 2 || rows * columns === 0) {
    throw tensorFault(codes.file.path, codes.name, "BitNet codes have the wrong shape", {
      expected: "[out/4, in]",
      found: shapeText(codes.shape),
    })
  }
  const multiplies = context.checkpoint.declared?.settings.get("linear_class") === "autobitlinear"
  return affineRowsWeight({
    name: codes.name,
    scheme: NAME,
    codec: "bitnet",
    codes,
    byteColumns: 1,
    scales: { tensor: scales, rowsPerLine: 0, width: 0, unitBytes: 0, lineBytes: scales.size, batchBytes: 0 },
    batch: BYTE_CODES,
    rows,
    columns,
    shape: [BYTE_CODES * rows, columns],
    parameters: [multiplies ? 1 : 0],
  })
}
