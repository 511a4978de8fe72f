/**
 * AWQ of 4 bits in the layout of AutoAWQ's GEMM kernel, which auto-round writes too:
 *
 *     P.qweight  I32 [in, out/8]      packed along the outputs, columns in the order 0 2 4 6 1 3 5 7
 *     P.qzeros   I32 [groups, out/8]  likewise; absent where every zero is 8 (`zero_point` false)
 *     P.scales   F16, BF16 or F32 [groups, out]
 *
 * Source: AutoAWQ 0.2.9, awq/modules/linear/gemm.py, awq/utils/packing_utils.py.
 */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import type { StoredTensor } from "../containers/container.ts"
import { jsonInteger } from "../containers/json.ts"
import { quote, tensorFault, tensorLine } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { UnsupportedError } from "../errors.ts"
import { affineWeight, groupRowsOf } from "./affine.ts"
import { affineDisagreements } from "./affine-settings.ts"
import { missingPart } from "./fp8.ts"
import { autoRoundPacking } from "./gptq.ts"
import { requireShape } from "./mxfp4.ts"
import type { MatchContext, Scheme, Weight } from "./scheme.ts"

const NAME = "awq"
const CODES = ".qweight"
/** Codes in a word. */
const WORD_CODES = 8

export const awq: Scheme = {
  name: NAME,
  row: {
    title: "AWQ (AutoAWQ, auto-round)",
    declaredAs: "awq, version gemm; auto-round, auto_round:auto_awq",
    stored: "P.qweight I32 [in, out/8], P.qzeros I32 [in/g, out/8], P.scales [in/g, out]",
    codec: "awq",
    bitsPerWeight: "4.16 to 4.63",
    reference: "AutoAWQ",
  },
  declared: (checkpoint) => versionOf(checkpoint) === "gemm",
  match,
  disagreements: affineDisagreements,
}

/** The layout that the config names; undefined where it declares something else. */
export function versionOf(checkpoint: Checkpoint): string | undefined {
  const packing = autoRoundPacking(checkpoint)
  if (packing !== undefined) return packing.includes("awq") ? "gemm" : undefined
  const { declared } = checkpoint
  if (declared?.method !== "awq") return undefined
  const version = declared.settings.get("version") ?? declared.settings.get("format")
  return typeof version === "string" ? version.toLowerCase() : "gemm"
}

function match(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (!codes.name.endsWith(CODES)) return undefined
  const { checkpoint } = context
  const module = codes.name.slice(0, -CODES.length)
  const scales = context.tensor(`${module}.scales`)
  const version = versionOf(checkpoint)
  if (version !== undefined && version !== "gemm") {
    const what = `AWQ in the layout of the ${quote(version)} kernel is not supported`
    throw new UnsupportedError(tensorLine(codes.file.path, codes.name, what), {
      hint: 'use a checkpoint of the version "gemm" or "gemv" of the same model',
    })
  }
  if (version === undefined && !looksLikeAwq(codes, scales)) return undefined
  const declaredBits = checkpoint.declared?.settings.get("bits") ?? checkpoint.declared?.settings.get("w_bit")
  const bits = jsonInteger(declaredBits) ?? 4
  if (codes.dtype !== "I32" || (version !== undefined && bits !== 4)) {
    const what = `AWQ of ${bits} bits in words of ${codes.dtype} is not supported`
    throw new UnsupportedError(tensorLine(codes.file.path, codes.name, what), {
      hint: "AWQ has 4 bits in words of I32",
    })
  }
  if (scales === undefined) missingPart(codes, "AWQ codes without scales", `${module}.scales`, context)
  return awqWeight(module, codes, scales, context)
}

function looksLikeAwq(codes: StoredTensor, scales: StoredTensor | undefined): boolean {
  const [rows = 0, words = 0] = codes.shape
  const [groups = 0, columns = 0] = scales?.shape ?? []
  return codes.dtype === "I32" && groups > 0 && columns === words * WORD_CODES && rows % groups === 0
}

function awqWeight(module: string, codes: StoredTensor, scales: StoredTensor, context: MatchContext): Weight {
  const settings = context.checkpoint.declared?.settings
  const [input, words] = codes.shape
  if (codes.shape.length !== 2 || input === undefined || words === undefined) {
    throw tensorFault(codes.file.path, codes.name, "AWQ codes have the wrong shape", {
      expected: "[in, out/8]",
      found: shapeText(codes.shape),
    })
  }
  const output = words * WORD_CODES
  const zeros = context.tensor(`${module}.qzeros`)
  if (zeros === undefined && settings?.get("zero_point") !== false && settings?.get("sym") !== true) {
    missingPart(codes, "AWQ codes without zeros", `${module}.qzeros`, context)
  }
  requireShape(scales, "AWQ scales", [scales.shape[0] ?? 0, output])
  const groups = scales.shape[0]!
  if (zeros !== undefined) requireShape(zeros, "AWQ zeros", [groups, words])
  const declaredSize = jsonInteger(settings?.get("group_size") ?? settings?.get("q_group_size"))
  return affineWeight({
    name: `${module}.weight`,
    scheme: NAME,
    codec: "awq",
    codes,
    input,
    output,
    scales,
    zeros,
    zeroForm: "stored",
    order: undefined,
    groupRows: groupRowsOf(scales, input, declaredSize),
    bits: 4,
    isPlanar: false,
    orientation: "always-transposed",
  })
}
