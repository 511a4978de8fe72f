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
  const tensors = shards.flatMap((shard) => shard.tensors)
  const texts = [config, index?.text, ...textFiles.map(({ text }) => text)]
  return {
    weightCount: tensors.filter(isDecoded).length,
    castCount: tensors.filter(isCast).length,
    bytesIn: sum([...new Set(tensors.flatMap(storedOf))].map(({ size }) => size)),
    bytesOut:
      sum(shards.map(({ size }) => size)) +
      sum(texts.map((text) => Buffer.byteLength(text ?? ""))) +
      sum(sideFiles.map(({ size }) => size)),
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
