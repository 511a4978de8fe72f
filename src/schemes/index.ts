/** The inventory of a checkpoint: which stored tensors form which weights, by the schemes of registry.ts. */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import type { StoredTensor } from "../containers/container.ts"
import { isDenseDtype } from "../containers/dtype.ts"
import { escapeText, quote, tensorFault, tensorLine } from "../containers/quote.ts"
import { UnsupportedError } from "../errors.ts"
import { DENSE_ROW } from "./dense.ts"
import { arrangeGguf } from "./gguf/arrange.ts"
import { arrangeGptOss, isGptOssOriginal } from "./gpt-oss-original.ts"
import { isRuntimeTensor, knownFormat, loosePart, mayBeCodes } from "./known.ts"
import { arrangeMlx, isMlx } from "./mlx-experts.ts"
import * as registry from "./registry.ts"
import {
  type FormatRow,
  type Inventory,
  type InventoryOptions,
  type MatchContext,
  type Scheme,
  SHARD_HINT,
  type Weight,
} from "./scheme.ts"

/**
 * Sorted by name, for they are asked in no particular order: of those that are declared, and again of the others, one at
 * the most knows a tensor.
 */
export const schemes: readonly Scheme[] = Object.values(registry)
  .flat()
  .sort((a, b) => Number(a.isLastResort ?? false) - Number(b.isLastResort ?? false) || (a.name < b.name ? -1 : 1))

/** The rows of `dequantizer formats`. */
export const formatRows: readonly ({ readonly name: string } & FormatRow)[] = [
  ...schemes.map((scheme) => ({ name: scheme.name, ...scheme.row })),
  { name: "dense", ...DENSE_ROW },
]

const FORMATS_HINT = "`dequantizer formats` lists what is supported"

/**
 * Sorts all tensors of a checkpoint into weights, plain tensors and tensors that a dense model has no use for. With
 * another layout than raw, tensors that are called and ordered otherwise in transformers have its names and form. Fails
 * closed: a quantized tensor is part of a weight or an error. Throws MalformedError for parts that are missing or do
 * not fit and for names that collide, UnsupportedError for formats that are recognised and not supported.
 */
export function takeInventory(checkpoint: Checkpoint, options: Partial<InventoryOptions> = {}): Inventory {
  const { layout = "auto", missingScale = "error" } = options
  const context: MatchContext = { checkpoint, missingScale, tensor: (name) => checkpoint.tensors.get(name) }
  const declared = schemes.filter((scheme) => scheme.declared(checkpoint))
  const others = schemes.filter((scheme) => !declared.includes(scheme))
  // The names in a GGUF file mean nothing to the schemes of safetensors.
  const asked = checkpoint.gguf === undefined ? [...declared, ...others] : declared
  const { weights, claims } = findWeights(asked, context)
  const sides = new Set<StoredTensor>()
  for (const weight of weights) for (const side of weight.sides ?? []) sides.add(side)
  const rest = [...checkpoint.tensors.values()].filter((tensor) => !claims.has(tensor) && !sides.has(tensor))
  // In GGUF the type of a tensor says what it is, whatever its name: what is left is dense.
  if (checkpoint.gguf === undefined) refuseQuantized(rest, asked, context)

  const dropped = [...sides, ...(weights.length > 0 ? rest.filter(isRuntimeTensor) : [])]
  const drop = new Set(dropped)
  const plain = rest.filter((tensor) => !drop.has(tensor))
  if (weights.length === 0 && declared.length === 0) refuseUnknownMethod(checkpoint, plain)
  const disagreements = findDisagreements(checkpoint, declared, weights)
  const stored: Inventory = { weights, plain, dropped, disagreements }
  const inventory = arrange(stored, checkpoint, layout)
  checkNames(inventory.weights, inventory.plain)
  return inventory
}

/** Models that are stored under other names, or in another form, than transformers has them. */
function arrange(stored: Inventory, checkpoint: Checkpoint, layout: InventoryOptions["layout"]): Inventory {
  if (layout === "raw") return stored
  if (checkpoint.gguf !== undefined) return arrangeGguf(stored, checkpoint, layout === "hf")
  if (layout !== "hf") return stored
  if (isMlx(stored)) return arrangeMlx(stored)
  return isGptOssOriginal(stored) ? arrangeGptOss(stored, checkpoint) : stored
}

/** The weight, by its name, that a tensor is a source of. */
type Claims = Map<StoredTensor, string>

/**
 * The weights, in the order of the tensors that hold their codes. Tensors of integers are asked first: most are codes, and
 * the scales that they claim need not be taken to every scheme.
 */
function findWeights(asked: readonly Scheme[], context: MatchContext): { weights: Weight[]; claims: Claims } {
  const tensors = [...context.checkpoint.tensors.values()]
  const found: (Weight | undefined)[] = tensors.map(() => undefined)
  const claims: Claims = new Map()
  for (const floats of [false, true]) {
    for (const [i, tensor] of tensors.entries()) {
      if (isDenseDtype(tensor.dtype) !== floats || claims.has(tensor)) continue
      const weight = firstMatch(asked, tensor, context)
      if (weight === undefined) continue
      claim(weight, claims)
      found[i] = weight
    }
  }
  return { weights: found.filter((weight) => weight !== undefined), claims }
}

/** Throws MalformedError where a tensor is a part of two weights. */
function claim(weight: Weight, claims: Claims): void {
  for (const { tensor } of weight.sources) {
    const other = claims.get(tensor)
    if (other !== undefined) {
      const found = `${quote(other)} and ${quote(weight.name)}`
      throw tensorFault(tensor.file.path, tensor.name, "belongs to two weights", { expected: "one", found })
    }
    claims.set(tensor, weight.name)
  }
}

function firstMatch(asked: readonly Scheme[], tensor: StoredTensor, context: MatchContext): Weight | undefined {
  for (const scheme of asked) {
    const weight = scheme.match(tensor, context)
    if (weight !== undefined) return weight
  }
  return undefined
}

/** What no weight claimed must be dense. Formats with a name come first: their scales would look like orphans. */
function refuseQuantized(rest: readonly StoredTensor[], asked: readonly Scheme[], context: MatchContext): void {
  for (const tensor of rest) {
    const format = knownFormat(tensor, context)
    if (format === undefined) continue
    const line = tensorLine(tensor.file.path, tensor.name, `${format.title} is not supported`)
    throw new UnsupportedError(line, { hint: format.hint ?? FORMATS_HINT })
  }
  const hint = context.checkpoint.kind === "file" ? { hint: SHARD_HINT } : {}
  for (const tensor of rest) {
    for (const scheme of asked) {
      const sentence = scheme.orphan?.(tensor, context)
      if (sentence !== undefined) throw tensorFault(tensor.file.path, tensor.name, sentence, hint)
    }
    const sentence = loosePart(tensor)
    if (sentence !== undefined) throw tensorFault(tensor.file.path, tensor.name, sentence, hint)
  }
}

/** The name of every output tensor must be its own, and one that safetensors leaves to tensors. */
function checkNames(weights: readonly Weight[], plain: readonly StoredTensor[]): void {
  const names = new Set<string>()
  for (const { name } of plain) names.add(name)
  for (const weight of weights) {
    const anchor = weight.sources[0]?.tensor
    if (anchor === undefined) throw new Error(`${weight.scheme} made a weight without sources`)
    if (weight.name === "" || weight.name === "__metadata__") {
      throw tensorFault(anchor.file.path, anchor.name, "gives a dense tensor a name that is not possible", {
        expected: "the name of a tensor",
        found: quote(weight.name),
      })
    }
    const count = names.size
    if (names.add(weight.name).size > count) continue
    const other =
      plain.find(({ name }) => name === weight.name) ??
      weights.find(({ name }) => name === weight.name)!.sources[0]!.tensor
    throw tensorFault(anchor.file.path, anchor.name, `gives the dense name ${quote(weight.name)}, which is taken`, {
      expected: "names that differ",
      found: `tensor ${quote(other.name)} of ${escapeText(other.file.name)}`,
    })
  }
}

/** A declared method of no scheme is a format that is not supported, unless nothing stored could be its codes. */
function refuseUnknownMethod(checkpoint: Checkpoint, plain: readonly StoredTensor[]): void {
  const { declared } = checkpoint
  const suspect = declared && plain.find(mayBeCodes)
  if (declared === undefined || suspect === undefined) return
  const what = `may be quantized as ${declared.origin} declares: ${quote(declared.method)} is not supported`
  const supported = schemes.map((scheme) => scheme.row.title).join(", ")
  throw new UnsupportedError(tensorLine(suspect.file.path, suspect.name, what), { hint: `supported: ${supported}` })
}

function findDisagreements(checkpoint: Checkpoint, declared: readonly Scheme[], weights: readonly Weight[]): string[] {
  const sentences: string[] = []
  const used = new Set(weights.map((weight) => weight.scheme))
  const found = schemes.filter((scheme) => used.has(scheme.name))
  const titles = found.map((scheme) => scheme.row.title).join(", ")
  const quantization = checkpoint.declared
  if (quantization === undefined) {
    // original/config.json of gpt-oss declares nothing and has no model_type; a config of transformers would.
    if (titles !== "" && checkpoint.config?.has("model_type") === true) {
      sentences.push(`config.json declares no quantization; the tensors are ${titles}`)
    }
    return sentences
  }
  const method = `${quantization.origin} declares ${quote(quantization.method)}`
  if (titles === "") sentences.push(`${method}; every tensor is dense`)
  else if (!found.some((scheme) => declared.includes(scheme))) sentences.push(`${method}; the tensors are ${titles}`)
  for (const scheme of found) {
    const own = weights.filter((weight) => weight.scheme === scheme.name)
    sentences.push(...(scheme.disagreements?.(checkpoint, own) ?? []))
  }
  const transform = quantization.settings.get("transform_config")
  if (transform instanceof Map && transform.size > 0) {
    sentences.push(
      `${quantization.origin} has a transform_config: the weights stay in the rotated basis that it describes`,
    )
  }
  return sentences
}
