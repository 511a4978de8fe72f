/**
 * What the FP8 schemes share: from codes of eight bits (or six, in MXFP6) and their scales to a weight, whatever the
 * dialect calls them. The shapes decide what a scale belongs to: a matrix, a row, a column, or a block.
 */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import type { StoredTensor } from "../containers/container.ts"
import { type Dtype, elementCount } from "../containers/dtype.ts"
import { isJsonArray, type JsonValue, jsonInteger } from "../containers/json.ts"
import { quote, tensorFault } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import type { CodecName } from "../native/abi.gen.ts"
import { type Block, type Placement, placeScales } from "./scale-grid.ts"
import { type MatchContext, SHARD_HINT, type Weight } from "./scheme.ts"

/** The codec of each dtype of codes. */
const CODECS = {
  F8_E4M3: "fp8_e4m3",
  F8_E5M2: "fp8_e5m2",
  F8_E4M3FNUZ: "fp8_e4m3fnuz",
  F8_E5M2FNUZ: "fp8_e5m2fnuz",
} as const satisfies Partial<Record<Dtype, CodecName>>

export function isFp8(dtype: Dtype): dtype is keyof typeof CODECS {
  return Object.hasOwn(CODECS, dtype)
}

/** Numbers of kernels/codecs/scale.zig. U8 scales are E8M0 exponents, never integers to multiply with. */
const SCALE_DTYPES = { F32: 1, F16: 2, BF16: 3, U8: 4, F8_E8M0: 5 } as const satisfies Partial<Record<Dtype, number>>

export function isScaleDtype(dtype: Dtype): dtype is keyof typeof SCALE_DTYPES {
  return Object.hasOwn(SCALE_DTYPES, dtype)
}

/** The number of a dtype of scales. */
export function scaleDtype(dtype: keyof typeof SCALE_DTYPES): number {
  return SCALE_DTYPES[dtype]
}

/** Numbers of kernels/codecs/scaled.zig: the dtype in which a product is rounded before the output's. */
const ROUNDINGS = { F32: 0, F16: 1, BF16: 2 } as const

/**
 * The dtype that compressed-tensors multiplies in: that of the scale, which for E8M0 exponents is BF16
 * (compressors/mx_utils.py).
 */
export function scaleArithmetic(scales: StoredTensor): keyof typeof ROUNDINGS {
  return scales.dtype === "F16" || scales.dtype === "F32" ? scales.dtype : "BF16"
}

/** How a dialect names codes, scales and the dense tensor: ends of names behind a common start. */
export interface Naming {
  readonly codes: string
  readonly scales: string
  readonly dense: string
}

/** The naming that fits: the name ends as its codes do and its scales are there. */
export function findNaming(
  codes: StoredTensor,
  namings: readonly Naming[],
  context: MatchContext,
): { readonly name: string; readonly scales: StoredTensor } | undefined {
  for (const naming of namings) {
    if (!codes.name.endsWith(naming.codes)) continue
    const start = codes.name.slice(0, codes.name.length - naming.codes.length)
    const scales = context.tensor(start + naming.scales)
    if (scales === undefined || scales === codes) continue
    // Mostly the same name: then it is the same string too, which a checkpoint has a hundred thousand of.
    return { name: naming.dense === naming.codes ? codes.name : start + naming.dense, scales }
  }
  return undefined
}

export interface ScaledParts extends Pick<Weight, "name" | "scheme"> {
  readonly codes: StoredTensor
  /** undefined: every scale is 1. */
  readonly scales: StoredTensor | undefined
  /** Rows and columns that share a scale, where they are declared; undefined: the grid tells. */
  readonly block?: Block | undefined
  /** A shape to read the scales with instead of their own. */
  readonly scaleShape?: readonly number[] | undefined
  /** The dtype that the product is rounded to first; default F32. */
  readonly arithmetic?: keyof typeof ROUNDINGS | undefined
  /** Six-bit codes: their codec; `codes` are then bytes, three for four codes. */
  readonly packed?: Extract<CodecName, "mxfp6_e2m3" | "mxfp6_e3m2"> | undefined
}

/**
 * The weight. Throws MalformedError where it has no values, where the scales have a dtype that none can have, or a
 * shape that does not cover the codes.
 */
export function scaledWeight(parts: ScaledParts): Weight {
  const { name, scheme, codes, scales, packed } = parts
  const shape = packed === undefined ? codes.shape : unpackedShape(codes)
  const count = elementCount(shape)
  if (count === undefined || count === 0) {
    throw tensorFault(codes.file.path, codes.name, "quantized weight without values", { found: shapeText(codes.shape) })
  }
  if (packed === undefined && !isFp8(codes.dtype)) throw new Error(`${codes.dtype} is not a dtype of codes`)
  const codec = packed ?? CODECS[codes.dtype as keyof typeof CODECS]
  const [unitColumns, unitBytes] = packed === undefined ? [1, 1] : [4, 3]
  const placement = scales === undefined ? undefined : placementOf(parts, shape, scales)
  const matrix = placement?.matrix ?? { batch: 1, rows: count / (shape.at(-1) ?? 1), columns: shape.at(-1) ?? 1 }
  const lineBytes = (matrix.columns / unitColumns) * unitBytes
  const codeSource = {
    role: "codes",
    tensor: codes,
    rowsPerLine: 1,
    lineBytes,
    batchBytes: matrix.batch === 1 ? 0 : matrix.rows * lineBytes,
    unitColumns,
    unitBytes,
  }
  return {
    name,
    scheme,
    codec,
    sources: scales === undefined ? [codeSource] : [codeSource, scaleSource(scales, placement!)],
    ...matrix,
    rowAlign: 1,
    columnAlign: unitColumns,
    parameters: scales === undefined ? [] : parametersOf(parts, scales, placement!),
    shape,
    orientation: "as-stored",
  }
}

function unpackedShape(codes: StoredTensor): number[] {
  const bytes = codes.shape.at(-1) ?? 0
  if (codes.shape.length < 2 || bytes % 3 !== 0) {
    throw tensorFault(codes.file.path, codes.name, "MXFP6 codes have the wrong shape", {
      expected: "[…, out, 3 in/4]",
      found: shapeText(codes.shape),
    })
  }
  return [...codes.shape.slice(0, -1), (bytes / 3) * 4]
}

function placementOf(parts: ScaledParts, shape: readonly number[], scales: StoredTensor): Placement {
  if (!isScaleDtype(scales.dtype)) {
    throw tensorFault(scales.file.path, scales.name, "scales have the wrong dtype", {
      expected: Object.keys(SCALE_DTYPES).join(" or "),
      found: scales.dtype,
    })
  }
  const placement = placeScales(shape, parts.scaleShape ?? scales.shape, parts.block)
  if (typeof placement !== "string") return placement
  throw tensorFault(scales.file.path, scales.name, `scales have the wrong shape for ${quote(parts.codes.name)}`, {
    expected: placement,
    found: shapeText(scales.shape),
  })
}

function scaleSource(scales: StoredTensor, placement: Placement): Weight["sources"][number] {
  const bytes = scales.size / elementCount(scales.shape)!
  return {
    role: "scales",
    tensor: scales,
    rowsPerLine: placement.rowsPerLine,
    lineBytes: placement.lineScales * bytes,
    batchBytes: placement.batchScales * bytes,
    unitColumns: placement.width,
    unitBytes: placement.width === 0 ? 0 : bytes,
  }
}

function parametersOf(parts: ScaledParts, scales: StoredTensor, placement: Placement): number[] {
  const dtype = SCALE_DTYPES[scales.dtype as keyof typeof SCALE_DTYPES]
  return [dtype, placement.width, ROUNDINGS[parts.arithmetic ?? "F32"]]
}

/** [rows, columns] of `weight_block_size` and the like; undefined where there is none. */
export function declaredBlock(value: JsonValue | undefined): Block | undefined {
  if (!isJsonArray(value) || value.length !== 2) return undefined
  const [rows, columns] = value.map((item) => jsonInteger(item))
  return rows === undefined || columns === undefined ? undefined : [rows, columns]
}

/** Whether the checkpoint declares one of the methods. */
export function declaresMethod(checkpoint: Checkpoint, ...methods: readonly string[]): boolean {
  return checkpoint.declared !== undefined && methods.includes(checkpoint.declared.method)
}

/** Throws MalformedError: codes need a part that is not there. */
export function missingPart(codes: StoredTensor, what: string, part: string, { checkpoint }: MatchContext): never {
  const hint = checkpoint.kind === "file" ? { hint: SHARD_HINT } : {}
  const values = { expected: `tensor ${quote(part)}`, found: "nothing" }
  throw tensorFault(codes.file.path, codes.name, what, { ...values, ...hint })
}
