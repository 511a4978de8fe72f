/**
 * What the MXFP4 schemes share: from two checked tensors to a weight. Codes are two to a byte, 32 columns of a row
 * have one E8M0 scale; both tensors are runs of rows without gaps. Source: OCP Microscaling v1.0.
 */
import type { StoredTensor } from "../containers/container.ts"
import { type Dtype, elementCount } from "../containers/dtype.ts"
import { quote, tensorFault } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { type MatchContext, SHARD_HINT, type Weight } from "./scheme.ts"

/** Columns that share a scale. */
export const MXFP4_GROUP = 32
/** Bytes of the codes of a group. */
export const MXFP4_GROUP_BYTES = 16

/** E8M0 scales are stored as plain bytes by most writers and under their own dtype by some. */
export const E8M0_DTYPES: readonly Dtype[] = ["U8", "F8_E8M0"]

/**
 * What the scale byte 255 does, which OCP keeps for NaN; the parameter of the codec. "power": the factor 2^128
 * (torch.ldexp, the recipe of gpt-oss and transformers). "infinite": the factor ∞ (compressed-tensors).
 * "nan": NaN, as torch.float8_e8m0fnu has it.
 */
const LAST_SCALE = { power: 0, infinite: 1, nan: 2 } as const

export interface Mxfp4Parts extends Pick<Weight, "name" | "scheme" | "orientation"> {
  readonly codes: StoredTensor
  readonly scales: StoredTensor
  /** [batch…, rows, groups]; `codes` holds 16 bytes and `scales` one for each element of it. */
  readonly grid: readonly number[]
  readonly lastScale: keyof typeof LAST_SCALE
}

/**
 * [batch…, rows, groups] of codes that are packed two to a byte along the columns. Throws MalformedError where they are
 * not whole groups, or where the scales are not one to a group.
 */
export function packedGrid(codes: StoredTensor, scales: StoredTensor): number[] {
  const bytes = codes.shape.at(-1)
  if (codes.shape.length < 2 || bytes === undefined || bytes % MXFP4_GROUP_BYTES !== 0) {
    throw tensorFault(codes.file.path, codes.name, "MXFP4 codes have the wrong shape", {
      expected: `[…, out, in/2] with whole groups of ${MXFP4_GROUP_BYTES} bytes`,
      found: shapeText(codes.shape),
    })
  }
  const grid = [...codes.shape.slice(0, -1), bytes / MXFP4_GROUP_BYTES]
  requireShape(scales, "MXFP4 scales", grid)
  return grid
}

/** The weight; its dense shape is [batch…, rows, groups · 32]. Throws MalformedError where it has no values. */
export function mxfp4Weight(parts: Mxfp4Parts): Weight {
  const { name, scheme, orientation, codes, scales, grid, lastScale } = parts
  const rows = grid.at(-2)
  const groups = grid.at(-1)
  const leading = grid.slice(0, -2)
  const batch = elementCount(leading)
  if (rows === undefined || groups === undefined || batch === undefined) throw new Error("grid is not checked")
  const columns = groups * MXFP4_GROUP
  if (batch * rows * columns === 0) {
    throw tensorFault(codes.file.path, codes.name, "quantized weight without values", { found: shapeText(codes.shape) })
  }
  const source = (role: string, tensor: StoredTensor, unitBytes: number) => ({
    role,
    tensor,
    rowsPerLine: 1,
    lineBytes: groups * unitBytes,
    batchBytes: rows * groups * unitBytes,
    unitColumns: MXFP4_GROUP,
    unitBytes,
  })
  return {
    name,
    scheme,
    codec: "mxfp4",
    sources: [source("codes", codes, MXFP4_GROUP_BYTES), source("scales", scales, 1)],
    batch,
    rows,
    columns,
    rowAlign: 1,
    columnAlign: MXFP4_GROUP,
    parameters: [LAST_SCALE[lastScale]],
    shape: [...leading, rows, columns],
    orientation,
  }
}

/** Throws MalformedError: `codes` needs a tensor called `scales`, and there is none. */
export function missingScales(codes: StoredTensor, scales: string, { checkpoint }: MatchContext): never {
  const hint = checkpoint.kind === "file" ? { hint: SHARD_HINT } : {}
  const values = { expected: `tensor ${quote(scales)}`, found: "nothing" }
  throw tensorFault(codes.file.path, codes.name, "MXFP4 codes without scales", { ...values, ...hint })
}

/** Throws MalformedError where `tensor` has another dtype than the scheme stores. */
export function requireDtype(tensor: StoredTensor, role: string, dtypes: readonly Dtype[]): void {
  if (dtypes.includes(tensor.dtype)) return
  const expected = dtypes.join(" or ")
  throw tensorFault(tensor.file.path, tensor.name, `${role} have the wrong dtype`, { expected, found: tensor.dtype })
}

/** Throws MalformedError where `tensor` has another shape than its partner asks for. */
export function requireShape(tensor: StoredTensor, role: string, expected: readonly number[]): void {
  const { shape } = tensor
  if (shape.length === expected.length && shape.every((size, axis) => size === expected[axis])) return
  throw tensorFault(tensor.file.path, tensor.name, `${role} have the wrong shape`, {
    expected: shapeText(expected),
    found: shapeText(shape),
  })
}
