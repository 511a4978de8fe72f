/** The weight of a checkpoint that is to be multiplied: a quantized one by its dense name, or a dense tensor. */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import type { StoredTensor } from "../containers/container.ts"
import { escapeText, quote, tensorLine } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { UnsupportedError, UsageError } from "../errors.ts"
import { nearestNames } from "../nearest.ts"
import { denseWeight } from "../schemes/dense.ts"
import { takeInventory } from "../schemes/index.ts"
import type { Inventory, Weight } from "../schemes/scheme.ts"

/** Names that a message lists at the most. */
const NAME_COUNT_MAX = 3

/**
 * The weight called `name`: its dense name, or the name of the tensor that holds its codes or values. Its rows are
 * outputs and its columns inputs, as in every linear layer. Throws UsageError for a name that the checkpoint does
 * not have, UnsupportedError for a tensor that is no matrix of numbers or whose rows are stored in another order.
 */
export function findWeight(checkpoint: Checkpoint, name: string): Weight {
  const inventory = takeInventory(checkpoint)
  // Of GGUF also the names that the file itself uses.
  const found = findIn(inventory, name) ?? findIn(takeInventory(checkpoint, { layout: "raw" }), name)
  if (found === undefined) throw unknownName(checkpoint, name, inventory)
  if ((found.parts ?? 1) === 1 && found.rowSwap === undefined) return found
  const { tensor } = found.sources[0]!
  throw new UnsupportedError(tensorLine(tensor.file.path, tensor.name, "has its rows in another order"), {
    hint: `multiply with it as it is stored, under the name ${quote(tensor.name)}, or convert the checkpoint`,
  })
}

function findIn({ weights, plain }: Inventory, name: string): Weight | undefined {
  const quantized = weights.find((weight) => weight.name === name || isAnchor(weight, name))
  if (quantized !== undefined) return quantized
  const tensor = plain.find((one) => one.name === name)
  return tensor === undefined ? undefined : denseMatrix(tensor)
}

/** Whether `name` is the tensor that the rows of a weight stand in, in their order. */
function isAnchor(weight: Weight, name: string): boolean {
  return weight.sources[0]?.tensor.name === name && (weight.parts ?? 1) === 1 && weight.rowSwap === undefined
}

/** One matrix of a stacked weight. Throws UsageError where there is no such one. */
export function pickExpert(weight: Weight, expert: number): Weight {
  if (!Number.isInteger(expert) || expert < 0 || expert >= weight.batch) {
    const has = weight.batch === 1 ? "one matrix" : `experts 0 to ${weight.batch - 1}`
    throw new UsageError(`${quote(weight.name)} has ${has}, and no expert ${expert}`)
  }
  const sources = weight.sources.map((source) => ({
    ...source,
    tensor: {
      ...source.tensor,
      offset: source.tensor.offset + expert * source.batchBytes,
      size: source.tensor.size - (weight.batch - 1) * source.batchBytes,
    },
  }))
  return { ...weight, batch: 1, sources, shape: weight.shape.slice(-2) }
}

/** A dense tensor as a matrix, or as a stack of them where it has more than two dimensions. */
function denseMatrix(tensor: StoredTensor): Weight {
  const weight = denseWeight(tensor)
  if (weight === undefined) {
    const what = `is ${tensor.dtype} ${shapeText(tensor.shape)}, not a matrix of numbers`
    throw new UnsupportedError(tensorLine(tensor.file.path, tensor.name, what))
  }
  if (tensor.shape.length <= 2) return weight
  const rows = tensor.shape.at(-2)!
  const [source] = weight.sources
  const sources = [{ ...source!, batchBytes: rows * source!.lineBytes }]
  return { ...weight, batch: weight.rows / rows, rows, sources }
}

function unknownName(checkpoint: Checkpoint, name: string, { weights, plain }: Inventory): UsageError {
  const names = [...weights.map((weight) => weight.name), ...plain.map((one) => one.name)]
  const close = nearestNames(name, names, NAME_COUNT_MAX)
  const hint =
    close.length > 0
      ? `there is ${close.map(quote).join(", ")}`
      : `\`dequantizer inspect --tensors ${escapeText(checkpoint.path)}\` lists all names`
  return new UsageError(`${escapeText(checkpoint.path)}: has no tensor ${quote(name)}`, { hint })
}
