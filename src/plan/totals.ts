/** What a plan, or a part of one, comes to: tensors by what becomes of them, and bytes. */
import type { StoredTensor } from "../containers/container.ts"
import type { OutputTensor, Plan } from "./plan.ts"

type Made = Pick<OutputTensor, "origin" | "dtype">
type SmallFiles = Pick<Plan, "config" | "index" | "textFiles" | "sideFiles">

/** A weight that was quantized. */
export function isDecoded({ origin }: Made): boolean {
  return origin.kind === "weight" && origin.weight.plainDtype === undefined
}

/** Whether a tensor that is not quantized gets another dtype. */
export function isCast({ origin, dtype }: Made): boolean {
  if (origin.kind !== "weight") return origin.kind === "cast"
  return origin.weight.plainDtype !== undefined && origin.weight.plainDtype !== dtype
}

/** The tensors of the input that a tensor is made from. */
export function storedOf({ origin }: Made): StoredTensor[] {
  return origin.kind === "weight" ? origin.weight.sources.map((source) => source.tensor) : [origin.tensor]
}

/** Counts and bytes of these shards and small files. Stored tensors are counted once, however often they are read. */
export function totalsOf(
  shards: Plan["shards"],
  { config, index, textFiles, sideFiles }: SmallFiles,
): Pick<Plan, "weightCount" | "castCount" | "bytesIn" | "bytesOut"> {
  const texts = [config, index?.text, ...textFiles.map(({ text }) => text)]
  const read = new Set<StoredTensor>()
  let weightCount = 0
  let castCount = 0
  let bytesIn = 0
  const take = (stored: StoredTensor): void => {
    const count = read.size
    if (read.add(stored).size > count) bytesIn += stored.size
  }
  for (const { tensors } of shards) {
    for (const tensor of tensors) {
      if (isDecoded(tensor)) weightCount += 1
      if (isCast(tensor)) castCount += 1
      if (tensor.origin.kind === "weight") for (const source of tensor.origin.weight.sources) take(source.tensor)
      else take(tensor.origin.tensor)
    }
  }
  return {
    weightCount,
    castCount,
    bytesIn,
    bytesOut:
      sum(shards.map(({ size }) => size)) +
      sum(texts.map((text) => Buffer.byteLength(text ?? ""))) +
      sum(sideFiles.map(({ size }) => size)),
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
