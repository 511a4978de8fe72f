/**
 * A GGUF model in the form that transformers loads: its names, rows of queries and keys in its order, norms without the
 * one that llama.cpp adds, experts one by one or stacked as the model class has them. Everything is a rearrangement of
 * stored blocks; nothing is quantized or computed anew but norms, in f32.
 */
import type { Checkpoint } from "../../checkpoint/checkpoint.ts"
import type { StoredTensor } from "../../containers/container.ts"
import { elementCount, isDenseDtype } from "../../containers/dtype.ts"
import { type GgufMetadata, ggufNumbers, ggufText } from "../../containers/gguf-metadata.ts"
import { escapeText, quote, tensorFault, tensorLine } from "../../containers/quote.ts"
import { shapeText } from "../../containers/safetensors.ts"
import { UnsupportedError } from "../../errors.ts"
import { denseMatrices, floatBits } from "../dense.ts"
import { joinParts, type Part } from "../join-parts.ts"
import type { Inventory, Weight } from "../scheme.ts"
import { sliceTensor } from "../slice.ts"
import { type Architecture, findArchitecture } from "./architectures.ts"
import { buildConfig } from "./config.ts"
import { type NamedRule, ruleOf } from "./names.ts"

const RAW_HINT = "use --layout raw, which keeps names and rows as llama.cpp has them"

/**
 * The inventory with transformers' names and forms. `required`: the layout was asked for by name; else a model that is
 * not known stays as it is, with a note. Throws UnsupportedError for what has no place in the known model.
 */
export function arrangeGguf(inventory: Inventory, checkpoint: Checkpoint, required: boolean): Inventory {
  const { gguf } = checkpoint
  if (gguf === undefined) return inventory
  const architecture = findArchitecture(gguf)
  if (architecture === undefined) return unknownModel(inventory, checkpoint, gguf, required)
  const arranged = new Arranger(gguf, architecture)
  for (const weight of inventory.weights) arranged.add(weight.sources[0]!.tensor, weight)
  for (const tensor of inventory.plain) arranged.add(tensor, undefined)
  arranged.finish()
  const { config, notes } = buildConfig(gguf, architecture, checkpoint.tensors)
  return {
    ...inventory,
    weights: arranged.weights,
    plain: arranged.plain,
    dropped: [...inventory.dropped, ...arranged.dropped],
    notes: [...(inventory.notes ?? []), ...notes],
    ...(config === undefined ? {} : { config }),
  }
}

function unknownModel(inventory: Inventory, checkpoint: Checkpoint, gguf: GgufMetadata, required: boolean): Inventory {
  const name = quote(ggufText(gguf, "general.architecture") ?? "")
  if (required) {
    const what = `--layout hf is not available for the GGUF architecture ${name}`
    throw new UnsupportedError(`${escapeText(checkpoint.path)}: ${what}`, { hint: RAW_HINT })
  }
  const note = `the GGUF architecture ${name} has no known form in transformers: names and rows stay as llama.cpp has them, and no config.json is written`
  return { ...inventory, notes: [...(inventory.notes ?? []), note] }
}

interface Stack {
  readonly parts: (Part | undefined)[]
  readonly count: number
}

class Arranger {
  readonly weights: Weight[] = []
  readonly plain: StoredTensor[] = []
  readonly dropped: StoredTensor[] = []
  readonly #stacks = new Map<string, Stack>()
  readonly #gguf: GgufMetadata
  readonly #architecture: Architecture

  constructor(gguf: GgufMetadata, architecture: Architecture) {
    this.#gguf = gguf
    this.#architecture = architecture
  }

  /** Takes one stored tensor; `weight` where it is quantized. */
  add(tensor: StoredTensor, weight: Weight | undefined): void {
    const { rules, top, title } = this.#architecture
    const named = ruleOf(tensor.name, rules, top)
    if (named === undefined) {
      const what = `has no known place in ${title}`
      throw new UnsupportedError(tensorLine(tensor.file.path, tensor.name, what), { hint: RAW_HINT })
    }
    const { rule } = named
    if (rule.kind === "dropped") this.dropped.push(tensor)
    else if (rule.kind === "bare") this.#put(tensor, weight, named.prefix + rule.name)
    else if (rule.kind === "experts") this.#unstack(tensor, weight, named, rule.name)
    else if (rule.kind === "stack") this.#stack(tensor, weight, named, rule)
    else this.#addTensor(tensor, weight, named, rule)
  }

  /** Stacked tensors, when all parts have come. */
  finish(): void {
    for (const [name, { parts, count }] of this.#stacks) this.weights.push(joinParts(name, parts, count, RAW_HINT))
  }

  #put(tensor: StoredTensor, weight: Weight | undefined, name: string, shape = tensor.shape): void {
    if (weight === undefined) this.plain.push({ ...tensor, name, shape })
    else this.weights.push({ ...weight, name, shape })
  }

  #addTensor(
    tensor: StoredTensor,
    weight: Weight | undefined,
    named: NamedRule,
    rule: NamedRule["rule"] & { kind: "tensor" },
  ): void {
    const name = `${named.prefix}${rule.name}.${named.suffix}`
    if (rule.plusOne) {
      const values = matricesOf(tensor, weight, 1, elementCount(tensor.shape) ?? 0)
      this.weights.push({ ...values, name, parameters: [floatBits(-1)] })
    } else if (rule.heads !== undefined) {
      this.weights.push({ ...this.#swapHalves(tensor, weight, rule.heads, named.layer), name })
    } else {
      const isRow = rule.oneRow === true && tensor.shape.length === 1
      this.#put(tensor, weight, name, isRow ? [1, ...tensor.shape] : tensor.shape)
    }
  }

  /** llama.cpp has the two halves of a head's rows in turns, [head, size / 2, 2]; transformers one after the other. */
  #swapHalves(tensor: StoredTensor, weight: Weight | undefined, kind: "query" | "key", layer: number): Weight {
    const heads = this.#headCount(kind, layer)
    const rows = tensor.shape[0] ?? 0
    if (heads === undefined || heads <= 0 || rows % (2 * heads) !== 0) {
      throw tensorFault(tensor.file.path, tensor.name, "rows are not whole heads", {
        expected: `${heads ?? "unknown"} heads of an even size`,
        found: shapeText(tensor.shape),
      })
    }
    const size = rows / heads
    // Of a bias each value is a row.
    const matrix = weight ?? matricesOf(tensor, weight, rows, tensor.shape[1] ?? 1)
    return { ...matrix, rowAlign: size, rowSwap: { middle: 2, inner: size / 2 } }
  }

  #headCount(kind: "query" | "key", layer: number): number | undefined {
    const count = (key: string) => {
      const values = ggufNumbers(this.#gguf, `${this.#architecture.key}.attention.${key}`)
      return values?.length === 1 ? values[0] : values?.[layer]
    }
    return kind === "query" ? count("head_count") : (count("head_count_kv") ?? count("head_count"))
  }

  #unstack(tensor: StoredTensor, weight: Weight | undefined, named: NamedRule, pattern: string): void {
    const [experts, ...shape] = tensor.shape
    if (experts === undefined || shape.length === 0) {
      throw tensorFault(tensor.file.path, tensor.name, "is not a stack of experts", { found: shapeText(tensor.shape) })
    }
    for (let expert = 0; expert < experts; expert += 1) {
      const name = `${named.prefix}${pattern.replace("#", String(expert))}.${named.suffix}`
      const slice = sliceTensor(tensor, expert, experts, shape)
      if (weight === undefined) this.plain.push({ ...slice, name })
      else this.weights.push({ ...batchItem(weight, expert, slice), name, shape })
    }
  }

  #stack(
    tensor: StoredTensor,
    weight: Weight | undefined,
    named: NamedRule,
    rule: NamedRule["rule"] & { kind: "stack" },
  ): void {
    const isBias = named.suffix === "bias"
    const name = `${named.prefix}${rule.name}${isBias ? "_bias" : ""}`
    if (isBias && rule.parts === 1) {
      this.#put(tensor, weight, name)
      return
    }
    const [rows, columns] = isBias ? [tensor.shape.at(-1), 1] : [tensor.shape.at(-2), tensor.shape.at(-1)]
    const matrix = weight ?? matricesOf(tensor, weight, rows ?? 1, columns ?? 1)
    const stack = this.#stacks.get(name) ?? { parts: [], count: rule.parts }
    stack.parts[rule.part] = { tensor, weight: { ...matrix, orientation: isBias ? "as-stored" : "transposed" } }
    this.#stacks.set(name, stack)
  }
}

/** A tensor that is not quantized as a weight that keeps its dtype. */
function matricesOf(tensor: StoredTensor, weight: Weight | undefined, rows: number, columns: number): Weight {
  if (weight === undefined && isDenseDtype(tensor.dtype)) return denseMatrices(tensor, rows, columns)
  throw tensorFault(tensor.file.path, tensor.name, "has a dtype that it cannot have", {
    expected: "F32, F16 or BF16",
    found: tensor.dtype,
  })
}

/** Matrix `index` of a weight of several; `blocks` is its slice of the first source. */
function batchItem(weight: Weight, index: number, blocks: StoredTensor): Weight {
  const sources = weight.sources.map((source, i) => {
    if (i === 0) return { ...source, tensor: blocks, batchBytes: 0 }
    if (source.batchBytes === 0) return source
    return { ...source, tensor: sliceTensor(source.tensor, index, weight.batch, []), batchBytes: 0 }
  })
  return { ...weight, batch: 1, sources }
}
