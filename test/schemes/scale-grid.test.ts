/** What a grid of scales belongs to, for the shapes that checkpoints have. */
import { expect, test } from "bun:test"
import { type Block, type Placement, placeScales } from "../../src/schemes/scale-grid.ts"

type Shape = readonly number[]
type Matrix = readonly [batch: number, rows: number, columns: number]
type Place = readonly [matrix: Matrix, rowsPerLine: number, width: number, lineScales: number, batchScales: number]

const fits: readonly [title: string, shape: Shape, scales: Shape, place: Place, block?: Block][] = [
  ["a scalar", [64, 96], [], [[1, 64, 96], 0, 0, 1, 0]],
  ["one value", [64, 96], [1], [[1, 64, 96], 0, 0, 1, 0]],
  ["one value in two dimensions", [64, 96], [1, 1], [[1, 64, 96], 0, 0, 1, 0]],
  ["a vector's scale", [96], [1], [[1, 1, 96], 0, 0, 1, 0]],
  ["one value for a stack", [4, 64, 96], [], [[1, 256, 96], 0, 0, 1, 0]],
  ["rows", [64, 96], [64], [[1, 64, 96], 1, 0, 1, 0]],
  ["rows as a column", [64, 96], [64, 1], [[1, 64, 96], 1, 0, 1, 0]],
  ["a vector beside a square is rows", [64, 64], [64], [[1, 64, 64], 1, 0, 1, 0]],
  ["columns", [64, 96], [1, 96], [[1, 64, 96], 0, 1, 96, 0]],
  ["columns as a vector", [64, 96], [96], [[1, 64, 96], 0, 1, 96, 0]],
  ["blocks", [256, 512], [2, 4], [[1, 256, 512], 128, 128, 4, 0]],
  ["ragged blocks, DeepSeek-V3's kv_a_proj_with_mqa", [576, 7168], [5, 56], [[1, 576, 7168], 128, 128, 56, 0]],
  ["declared blocks", [64, 96], [4, 3], [[1, 64, 96], 16, 32, 3, 0], [16, 32]],
  ["ragged declared blocks", [60, 90], [4, 3], [[1, 60, 90], 16, 32, 3, 0], [16, 32]],
  ["a padded grid is cropped", [576, 7168], [8, 56], [[1, 576, 7168], 128, 128, 56, 0], [128, 128]],
  ["groups of a row among declared blocks", [64, 96], [64, 3], [[1, 64, 96], 1, 32, 3, 0], [128, 128]],
  ["groups of a row", [256, 512], [256, 16], [[1, 256, 512], 1, 32, 16, 0]],
  ["rows that are a grid of the declared blocks", [2, 96], [2, 1], [[1, 2, 96], 1, 128, 1, 0], [1, 128]],
  ["blocks that only the grid tells", [64, 96], [4, 3], [[1, 64, 96], 16, 32, 3, 0]],
  ["blocks with dimensions of one", [256, 512], [2, 1, 4, 1], [[1, 256, 512], 128, 128, 4, 0]],
  ["each expert", [4, 64, 96], [4], [[4, 64, 96], 0, 0, 1, 1]],
  ["each expert, with dimensions of one", [4, 64, 96], [4, 1, 1], [[4, 64, 96], 0, 0, 1, 1]],
  ["rows of each expert", [4, 64, 96], [4, 64, 1], [[4, 64, 96], 1, 0, 1, 64]],
  ["columns of each expert", [4, 64, 96], [4, 1, 96], [[4, 64, 96], 0, 1, 96, 96]],
  ["columns of each expert without a dimension of one", [4, 64, 96], [4, 96], [[4, 64, 96], 0, 1, 96, 96]],
  ["blocks of each expert", [4, 256, 512], [4, 2, 4], [[4, 256, 512], 128, 128, 4, 8]],
  ["experts in two dimensions", [2, 3, 64, 96], [2, 3, 64], [[6, 64, 96], 1, 0, 1, 64]],
  ["filters of a convolution", [8, 3, 5, 7], [8, 1, 1, 1], [[8, 15, 7], 0, 0, 1, 1]],
]

for (const [title, shape, scales, [matrix, rowsPerLine, width, lineScales, batchScales], block] of fits) {
  test(title, () => {
    const [batch, rows, columns] = matrix
    const place: Placement = { matrix: { batch, rows, columns }, rowsPerLine, width, lineScales, batchScales }
    expect(placeScales(shape, scales, block)).toEqual(place)
  })
}

const misfits: readonly [title: string, shape: Shape, scales: Shape, block?: Block][] = [
  ["no scales", [64, 96], [0]],
  ["a vector of another length", [64, 96], [65]],
  ["rows of another count", [64, 96], [65, 1]],
  ["too few blocks", [576, 7168], [4, 55], [128, 128]],
  ["a grid that divides nothing", [64, 96], [5, 7]],
  ["several scales of a vector", [96], [3]],
  ["other experts", [4, 64, 96], [5, 64, 1]],
  ["three dimensions for a matrix", [64, 96], [4, 3, 2]],
]

for (const [title, shape, scales, block] of misfits) {
  test(`${title}: what is expected`, () => expect(placeScales(shape, scales, block)).toBeString())
}
