/**
 * Experts that mlx-lm stacked, in the form that transformers loads (`--layout hf`): one tensor for each expert.
 *
 *     ….mlp.switch_mlp.gate_proj.weight [E, out, in]                ….mlp.experts.0.gate_proj.weight [out, in] …
 *     ….block_sparse_moe.switch_mlp.gate_proj.weight [E, out, in]   ….block_sparse_moe.experts.0.w1.weight …
 *     gpt-oss: ….mlp.experts.gate_proj.weight and .up_proj.weight   ….mlp.experts.gate_up_proj [E, in, 2 out], in turns
 *
 * Source: mlx-lm 0.32.2, `sanitize` of models/qwen3_moe.py, deepseek_v3.py, mixtral.py and gpt_oss.py.
 */
import type { StoredTensor } from "../containers/container.ts"
import { isDenseDtype } from "../containers/dtype.ts"
import { tensorFault } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { denseMatrices } from "./dense.ts"
import { joinParts, type Part } from "./join-parts.ts"
import type { Inventory, Weight } from "./scheme.ts"
import { sliceTensor } from "./slice.ts"

const STACK = /^(.*\.)switch_mlp\.(gate|up|down)_proj\.(weight|scales|biases|bias)$/
const GPT_OSS = /^(.*\.mlp\.experts\.)(gate|up|down)_proj\.(weight|bias)$/
const AUTO_HINT = "use --layout auto, which keeps the names of mlx-lm"
/** Names of Mixtral's experts. */
const MIXTRAL = { gate: "w1", down: "w2", up: "w3" } as const

/** Whether a weight of the inventory is MLX's. */
export function isMlx({ weights }: Inventory): boolean {
  return weights.some(({ scheme }) => scheme.startsWith("mlx-"))
}

/** The inventory in that form. Throws MalformedError where gate or up is missing. */
export function arrangeMlx(inventory: Inventory): Inventory {
  const stacks = new Map<string, (Part | undefined)[]>()
  const weights: Weight[] = []
  for (const weight of inventory.weights) {
    const tensor = weight.sources[0]!.tensor
    const isStack = addToStack(stacks, tensor, { ...weight, orientation: "transposed" })
    if (!isStack) weights.push(...splitWeight(weight))
  }
  const plain: StoredTensor[] = []
  for (const tensor of inventory.plain) {
    if (!addToStack(stacks, tensor, undefined)) plain.push(...splitPlain(tensor))
  }
  for (const [name, parts] of stacks) weights.push(joinParts(name, parts, parts.length, AUTO_HINT))
  return { ...inventory, weights, plain }
}

/** Keeps a tensor of gpt-oss's experts for the stack that it is a part of; false for all others. */
function addToStack(stacks: Map<string, (Part | undefined)[]>, tensor: StoredTensor, weight?: Weight): boolean {
  const [, start, kind, end] = GPT_OSS.exec(tensor.name) ?? []
  if (start === undefined) return false
  const isBias = end === "bias"
  const matrix = weight ?? (isBias ? columnMatrices(tensor) : undefined)
  if (matrix === undefined) return false
  const name = `${start}${kind === "down" ? "down_proj" : "gate_up_proj"}${isBias ? "_bias" : ""}`
  const parts = stacks.get(name) ?? new Array<Part | undefined>(kind === "down" ? 1 : 2).fill(undefined)
  parts[kind === "up" ? 1 : 0] = { tensor, weight: matrix }
  stacks.set(name, parts)
  return true
}

/** Biases, each value a row: so they can take turns. */
function columnMatrices(tensor: StoredTensor): Weight | undefined {
  return isDenseDtype(tensor.dtype) ? denseMatrices(tensor, tensor.shape.at(-1) ?? 1, 1) : undefined
}

function expertName(name: string, expert: number): string | undefined {
  const [, start, part, end] = STACK.exec(name) ?? []
  if (start === undefined) return undefined
  const own = start.endsWith("block_sparse_moe.") ? MIXTRAL[part as keyof typeof MIXTRAL] : `${part}_proj`
  return `${start}experts.${expert}.${own}.${end}`
}

/** Stored parts are split and renamed too: weights that an option leaves quantized are then still found. */
function splitWeight(weight: Weight): Weight[] {
  const { name, shape, batch } = weight
  if (expertName(name, 0) === undefined || shape.length !== 3) return [weight]
  return Array.from({ length: batch }, (_, expert) => ({
    ...weight,
    name: expertName(name, expert)!,
    sources: weight.sources.map((source) => ({ ...source, tensor: partOf(source.tensor, expert), batchBytes: 0 })),
    batch: 1,
    shape: shape.slice(1),
  }))
}

function splitPlain(tensor: StoredTensor): StoredTensor[] {
  if (expertName(tensor.name, 0) === undefined) return [tensor]
  const [count] = tensor.shape
  if (count === undefined || tensor.shape.length < 2) {
    throw tensorFault(tensor.file.path, tensor.name, "is no stack of experts", { found: shapeText(tensor.shape) })
  }
  return Array.from({ length: count }, (_, expert) => partOf(tensor, expert))
}

function partOf(tensor: StoredTensor, expert: number): StoredTensor {
  const part = sliceTensor(tensor, expert, tensor.shape[0]!, tensor.shape.slice(1))
  return { ...part, name: expertName(tensor.name, expert)! }
}
