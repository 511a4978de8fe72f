/**
 * Experts that mlx-lm stacked, in the form that transformers loads (`--layout hf`): one tensor for each expert.
 *
 *     ….mlp.switch_mlp.gate_proj.weight [E, out, in]                ….mlp.experts.0.gate_proj.weight [out, in] …
 *     ….block_sparse_moe.switch_mlp.gate_proj.weight [E, out, in]   ….block_sparse_moe.experts.0.w1.weight …
 *
 * Source: mlx-lm 0.32.2, `sanitize` of models/qwen3_moe.py, deepseek_v3.py and mixtral.py.
 */
import type { StoredTensor } from "../containers/container.ts"
import { tensorFault, tensorLine } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { UnsupportedError } from "../errors.ts"
import type { Inventory, Weight } from "./scheme.ts"
import { sliceTensor } from "./slice.ts"

const STACK = /^(.*\.)switch_mlp\.(gate|up|down)_proj\.(weight|scales|biases|bias)$/
/** gpt-oss: gate and up were one interleaved tensor, which is more than names. */
const GPT_OSS = /\.mlp\.experts\.(gate|up|down)_proj\.(weight|bias)$/
/** Names of Mixtral's experts. */
const MIXTRAL = { gate: "w1", down: "w2", up: "w3" } as const

/** Whether a weight of the inventory is MLX's. */
export function isMlx({ weights }: Inventory): boolean {
  return weights.some(({ scheme }) => scheme.startsWith("mlx-"))
}

/** The inventory with an entry for each expert. Throws UnsupportedError for gpt-oss, whose experts have another form. */
export function arrangeMlx(inventory: Inventory): Inventory {
  for (const { sources, name } of inventory.weights) {
    if (!GPT_OSS.test(name)) continue
    const { file } = sources[0]!.tensor
    const what = "is of gpt-oss: --layout hf is not available for the experts that MLX makes of it"
    throw new UnsupportedError(tensorLine(file.path, name, what), { hint: "use --layout auto, which keeps the names" })
  }
  const weights = inventory.weights.flatMap((weight) => splitWeight(weight))
  return { ...inventory, weights, plain: inventory.plain.flatMap((tensor) => splitPlain(tensor)) }
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
