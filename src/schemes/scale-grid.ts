/**
 * What a grid of scales belongs to. Pure: shapes in, places out. A grid may stand for a whole tensor, for each matrix
 * of a stack, for rows, for columns, or for blocks of rows and columns, whose last ones the matrix may cut off.
 */
import { elementCount } from "../containers/dtype.ts"
import { shapeText } from "../containers/safetensors.ts"

/** Rows and columns that share a scale. */
export type Block = readonly [rows: number, columns: number]

/** Blocks of DeepSeek-V3, for grids whose block nothing declares. */
const DEFAULT_BLOCK: Block = [128, 128]

export interface Placement {
  /** The tensor as matrices; `batch` of them, one behind the other. */
  readonly matrix: { readonly batch: number; readonly rows: number; readonly columns: number }
  /** Rows that share a line of scales; 0: all. */
  readonly rowsPerLine: number
  /** Columns that share a scale; 0: all. */
  readonly width: number
  /** Scales from one line to the next. */
  readonly lineScales: number
  /** Scales from one matrix to the next; 0: they share theirs. */
  readonly batchScales: number
}

/**
 * Where the scales of a tensor of `shape` are in a grid of `scales`; a text of what is expected where they do not fit.
 *
 * `block` is what the config declares. A grid that is larger than the declared blocks need is cropped, unless it has a
 * line for each row: then its own widths count (MXFP8 layers among blocks of 128 × 128).
 */
export function placeScales(shape: readonly number[], scales: readonly number[], block?: Block): Placement | string {
  const count = elementCount(shape) ?? 0
  if (elementCount(scales) === 1) {
    const columns = shape.at(-1) ?? 1
    return whole({ batch: 1, rows: count / columns, columns }, 0)
  }
  const rows = shape.at(-2) ?? 1
  const columns = shape.at(-1) ?? 1
  if (shape.length < 2) return `[] or [1], one scale for ${shapeText(shape)}`
  const leading = shape.slice(0, -2)
  const batch = elementCount(leading) ?? 0
  // Of more dimensions than two, each item of the first may have a scale: stacked experts, convolutions.
  if (shape.length > 2 && isPerItem(shape[0]!, scales)) {
    const items = shape[0]!
    return whole({ batch: items, rows: count / items / columns, columns }, 1)
  }
  const grid = trailing(leading, scales)
  if (grid === undefined) return `the dimensions ${shapeText(leading)} first`
  const matrix = { batch, rows, columns }
  if (grid.length === 0) return whole(matrix, 1)
  return placeGrid(matrix, grid, block) ?? expectedGrid(leading, matrix, block)
}

type Matrix = Placement["matrix"]

function whole(matrix: Matrix, batchScales: number): Placement {
  return { matrix, rowsPerLine: 0, width: 0, lineScales: 1, batchScales }
}

/** [E], [E, 1], [E, 1, 1], … */
function isPerItem(items: number, scales: readonly number[]): boolean {
  return scales[0] === items && elementCount(scales) === items
}

/** What follows the leading dimensions, which the scales must have too; two dimensions may be spread over more. */
function trailing(leading: readonly number[], scales: readonly number[]): readonly number[] | undefined {
  if (leading.some((size, i) => scales[i] !== size)) return undefined
  const rest = scales.slice(leading.length)
  return rest.length <= 2 ? rest : rest.filter((size) => size !== 1)
}

function placeGrid(matrix: Matrix, grid: readonly number[], block: Block | undefined): Placement | undefined {
  const { batch, rows, columns } = matrix
  const [height, width] = grid
  if (grid.length > 2 || height === undefined) return undefined
  const place = (rowsPerLine: number, unit: number, lines: number, lineScales: number): Placement => ({
    matrix,
    rowsPerLine,
    width: unit,
    lineScales,
    batchScales: batch === 1 ? 0 : lines * lineScales,
  })
  // One dimension is rows; columns only where it cannot be rows.
  if (width === undefined) {
    if (height === rows) return place(1, 0, rows, 1)
    return height === columns ? place(0, 1, 1, columns) : undefined
  }
  const found = blockOf(matrix, height, width, block)
  if (found !== undefined) return place(found[0], found[1], height, width)
  if (height === rows && width === 1) return place(1, 0, rows, 1)
  return height === 1 && width === columns ? place(0, 1, 1, columns) : undefined
}

function blockOf({ rows, columns }: Matrix, height: number, width: number, block?: Block): Block | undefined {
  const [blockRows, blockColumns] = block ?? DEFAULT_BLOCK
  const needed = [Math.ceil(rows / blockRows), Math.ceil(columns / blockColumns)] as const
  if (height === needed[0] && width === needed[1]) return block ?? DEFAULT_BLOCK
  const isVector = (height === rows && width === 1) || (height === 1 && width === columns)
  if (isVector || height === 0 || width === 0) return undefined
  const divides = rows % height === 0 && columns % width === 0
  if (divides && (height === rows || block === undefined)) return [rows / height, columns / width]
  if (block !== undefined && height >= needed[0] && width >= needed[1]) return block
  return divides ? [rows / height, columns / width] : undefined
}

function expectedGrid(leading: readonly number[], { rows, columns }: Matrix, block?: Block): string {
  const [blockRows, blockColumns] = block ?? DEFAULT_BLOCK
  const grid = shapeText([...leading, Math.ceil(rows / blockRows), Math.ceil(columns / blockColumns)])
  return `${grid} for blocks of ${blockRows} × ${blockColumns}, or a scale for each row`
}
