/**
 * The block types of ggml: a row is a run of blocks, each of so many columns in so many bytes, scales included.
 * Source: ggml-org/ggml, include/ggml.h (`ggml_type`) and src/ggml-common.h. Types of plain numbers are dtypes of
 * safetensors as well and have no row here.
 */

interface BlockType {
  /** Number of the type in a file. */
  readonly id: number
  readonly columns: number
  readonly bytes: number
}

export const GGML_BLOCKS = {
  Q4_0: { id: 2, columns: 32, bytes: 18 },
  Q4_1: { id: 3, columns: 32, bytes: 20 },
  Q5_0: { id: 6, columns: 32, bytes: 22 },
  Q5_1: { id: 7, columns: 32, bytes: 24 },
  Q8_0: { id: 8, columns: 32, bytes: 34 },
  Q2_K: { id: 10, columns: 256, bytes: 84 },
  Q3_K: { id: 11, columns: 256, bytes: 110 },
  Q4_K: { id: 12, columns: 256, bytes: 144 },
  Q5_K: { id: 13, columns: 256, bytes: 176 },
  Q6_K: { id: 14, columns: 256, bytes: 210 },
  IQ2_XXS: { id: 16, columns: 256, bytes: 66 },
  IQ2_XS: { id: 17, columns: 256, bytes: 74 },
  IQ3_XXS: { id: 18, columns: 256, bytes: 98 },
  IQ1_S: { id: 19, columns: 256, bytes: 50 },
  IQ4_NL: { id: 20, columns: 32, bytes: 18 },
  IQ3_S: { id: 21, columns: 256, bytes: 110 },
  IQ2_S: { id: 22, columns: 256, bytes: 82 },
  IQ4_XS: { id: 23, columns: 256, bytes: 136 },
  IQ1_M: { id: 29, columns: 256, bytes: 56 },
  TQ1_0: { id: 34, columns: 256, bytes: 54 },
  TQ2_0: { id: 35, columns: 256, bytes: 66 },
  MXFP4: { id: 39, columns: 32, bytes: 17 },
  NVFP4: { id: 40, columns: 64, bytes: 36 },
  Q1_0: { id: 41, columns: 128, bytes: 18 },
  Q2_0: { id: 42, columns: 64, bytes: 18 },
} as const satisfies Record<string, BlockType>

export type GgmlType = keyof typeof GGML_BLOCKS

/** The names of all block types. */
export const GGML_TYPES = Object.keys(GGML_BLOCKS) as GgmlType[]

export function isGgmlType(name: string): name is GgmlType {
  return Object.hasOwn(GGML_BLOCKS, name)
}

/** Bytes of so many elements in rows of `columns`; undefined where a row is not a run of whole blocks. */
export function blockBytes(type: GgmlType, columns: number, count: number): number | undefined {
  const block = GGML_BLOCKS[type]
  if (columns % block.columns !== 0) return undefined
  const bytes = (count / block.columns) * block.bytes
  return Number.isSafeInteger(bytes) ? bytes : undefined
}
