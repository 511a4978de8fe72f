/** Parts of stored tensors, as tensors of their own. */
import type { StoredTensor } from "../containers/container.ts"

/** Part `index` of `count` equal parts of a tensor along its first dimension, under the tensor's name. */
export function sliceTensor(
  tensor: StoredTensor,
  index: number,
  count: number,
  shape: readonly number[],
): StoredTensor {
  const size = tensor.size / count
  if (!Number.isSafeInteger(size)) throw new Error(`${tensor.name}: ${count} parts do not divide ${tensor.size} bytes`)
  return { ...tensor, shape, offset: tensor.offset + index * size, size }
}

/** `count` of a tensor's first-dimension rows from row `first` on, under the tensor's name. */
export function sliceRows(tensor: StoredTensor, first: number, count: number): StoredTensor {
  const [rows, ...rest] = tensor.shape
  if (rows === undefined || first + count > rows) throw new Error(`${tensor.name}: has no rows ${first} + ${count}`)
  const rowSize = tensor.size / rows
  return { ...tensor, shape: [count, ...rest], offset: tensor.offset + first * rowSize, size: count * rowSize }
}
