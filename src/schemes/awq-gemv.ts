/**
 * AWQ of 4 bits in the layout of AutoAWQ's GEMV kernel:
 *
 *     P.qweight  I32 [out, in/8]        packed along the inputs, in their order
 *     P.qzeros   I32 [out, words]       a nibble for each group, in words that are padded
 *     P.scales   F16 [out, 8 · words]   of which the first in/g count
 *
 * Source: AutoAWQ 0.2.9, awq/modules/linear/gemv.py.
 */
import type { StoredTensor } from "../containers/container.ts"
import { jsonInteger } from "../containers/json.ts"
import { tensorFault } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { affineRowsWeight } from "./affine-rows.ts"
import { versionOf } from "./awq.ts"
import { missingPart } from "./fp8.ts"
import { requireDtype, requireShape } from "./mxfp4.ts"
import type { MatchContext, Scheme, Weight } from "./scheme.ts"

const NAME = "awq-gemv"
const CODES = ".qweight"
/** Codes, or zeros, in a word. */
const WORD_CODES = 8
const DEFAULT_GROUP = 128

export const awqGemv: Scheme = {
  name: NAME,
  row: {
    title: "AWQ for the GEMV kernel (AutoAWQ)",
    declaredAs: "awq, version gemv",
    stored: "P.qweight I32 [out, in/8], P.qzeros I32 [out, in/8g], P.scales [out, in/g]",
    codec: "awq_gemv",
    bitsPerWeight: "4.16 to 4.63",
    reference: "AutoAWQ's arithmetic",
  },
  declared: (checkpoint) => versionOf(checkpoint) === "gemv",
  match,
}

function match(codes: StoredTensor, context: MatchContext): Weight | undefined {
  const { checkpoint } = context
  if (!codes.name.endsWith(CODES) || versionOf(checkpoint) !== "gemv") return undefined
  const module = codes.name.slice(0, -CODES.length)
  const part = (name: string): StoredTensor =>
    context.tensor(`${module}.${name}`) ?? missingPart(codes, `AWQ codes without ${name}`, `${module}.${name}`, context)
  const scales = part("scales")
  const zeros = part("qzeros")
  requireDtype(codes, "AWQ codes", ["I32"])
  requireDtype(zeros, "AWQ zeros", ["I32"])
  const [output = 0, words = 0] = codes.shape
  const input = words * WORD_CODES
  const settings = checkpoint.declared?.settings
  const declared = jsonInteger(settings?.get("group_size") ?? settings?.get("q_group_size")) ?? DEFAULT_GROUP
  const group = declared === -1 ? input : declared
  const groups = input / group
  const zeroWords = zeros.shape[1] ?? 0
  if (codes.shape.length !== 2 || output * input === 0 || input % group !== 0) {
    throw tensorFault(codes.file.path, codes.name, "AWQ codes have the wrong shape", {
      expected: `[out, in/8] in groups of ${group}`,
      found: shapeText(codes.shape),
    })
  }
  requireShape(zeros, "AWQ zeros", [output, Math.max(zeroWords, Math.ceil(groups / WORD_CODES))])
  requireShape(scales, "AWQ scales", [output, zeroWords * WORD_CODES])
  const scaleBytes = scales.size / (output * zeroWords * WORD_CODES)
  const line = { rowsPerLine: 1, batchBytes: 0 }
  return affineRowsWeight({
    name: `${module}.weight`,
    scheme: NAME,
    codec: "awq_gemv",
    codes,
    byteColumns: 2,
    scales: { tensor: scales, ...line, width: group, unitBytes: scaleBytes, lineBytes: zeroWords * 8 * scaleBytes },
    zeros: { tensor: zeros, ...line, width: 2 * group, unitBytes: 1, lineBytes: zeroWords * 4 },
    batch: 1,
    rows: output,
    columns: input,
    shape: [output, input],
    parameters: [],
  })
}
