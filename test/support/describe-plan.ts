/** A plan as text, for snapshots: every file, every tensor with its place and what it is made from. */
import type { OutputTensor, Plan } from "../../src/plan/plan.ts"

export function planText(plan: Plan): string {
  const lines = plan.shards.flatMap((shard) => [
    `${shard.name} ${shard.size}`,
    ...shard.tensors.map((tensor) => `  ${tensorText(tensor, shard.head.byteLength)}`),
  ])
  const totals = `in ${plan.bytesIn} out ${plan.bytesOut} decoded ${plan.weightCount} cast ${plan.castCount}`
  const sides = plan.sideFiles.map((file) => file.name).join(" ")
  return ["", ...lines, `side files: ${sides || "none"}`, totals, ""].join("\n")
}

/** The offset is counted from the first tensor, so that it does not hang on the length of the header. */
function tensorText(tensor: OutputTensor, headSize: number): string {
  const place = `${tensor.offset - headSize}+${tensor.size}`
  return `${tensor.name} ${tensor.dtype} [${tensor.shape.join(",")}] ${place} ${originText(tensor)}`
}

function originText({ origin }: OutputTensor): string {
  if (origin.kind !== "weight") return origin.kind
  return `${origin.weight.codec}${origin.transposed ? " transposed" : ""}`
}
