/**
 * What a config declares about single GPTQ and AWQ modules, and where the shapes of their tensors say otherwise.
 * Overrides: `dynamic` of GPTQModel (patterns, the first that matches counts; "-:" excludes), `extra_config` of
 * auto-round (names).
 */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import { isJsonObject, type JsonObject, jsonInteger } from "../containers/json.ts"
import { quote } from "../containers/quote.ts"
import type { Weight } from "./scheme.ts"

/** Places of a weight's parameters (kernels/codecs/affine.zig). */
const BITS = 0
const GROUP_ROWS = 4
/** Weights that a sentence names. */
const NAMED_MAX = 2

interface Setting {
  /** Its names in configs, the usual one first. */
  readonly keys: readonly string[]
  readonly found: (weight: Weight) => number
  /** What a declared number means for a weight. */
  readonly wanted: (declared: number, weight: Weight) => number
}

const SETTINGS: readonly Setting[] = [
  { keys: ["bits", "w_bit"], found: (weight) => weight.parameters[BITS]!, wanted: (bits) => bits },
  {
    keys: ["group_size", "q_group_size"],
    found: (weight) => weight.parameters[GROUP_ROWS]!,
    wanted: (size, weight) => (size <= 0 ? weight.rows : size),
  },
]

/** A sentence for each number that the config declares otherwise than the shapes have it. */
export function affineDisagreements({ declared }: Checkpoint, weights: readonly Weight[]): string[] {
  if (declared === undefined) return []
  const sentences = new Map<string, string[]>()
  for (const weight of weights) {
    const module = weight.name.replace(/\.weight$/, "")
    const override = overrideOf(declared.settings, module)
    for (const { keys, found, wanted } of SETTINGS) {
      const number = numberOf(override, keys) ?? numberOf(declared.settings, keys)
      if (number === undefined || wanted(number, weight) === found(weight)) continue
      const sentence = `${declared.origin} declares ${keys[0]} ${number}; the shapes say ${found(weight)}`
      sentences.set(sentence, [...(sentences.get(sentence) ?? []), weight.name])
    }
  }
  return [...sentences].map(([sentence, names]) => `${sentence} (${namesText(names)})`)
}

function namesText(names: readonly string[]): string {
  const named = names.slice(0, NAMED_MAX).map(quote).join(", ")
  return names.length > NAMED_MAX ? `${named} and ${names.length - NAMED_MAX} more` : named
}

function numberOf(settings: JsonObject | undefined, keys: readonly string[]): number | undefined {
  const key = keys.find((one) => settings?.has(one))
  return key === undefined ? undefined : jsonInteger(settings?.get(key))
}

/** The settings that the config has for this module alone. */
function overrideOf(settings: JsonObject, module: string): JsonObject | undefined {
  const extra = settings.get("extra_config")
  const named = isJsonObject(extra) ? extra.get(module) : undefined
  if (isJsonObject(named)) return named
  const dynamic = settings.get("dynamic")
  if (!isJsonObject(dynamic)) return undefined
  for (const [pattern, override] of dynamic) {
    if (!pattern.startsWith("-:") && matches(pattern.replace(/^\+:/, ""), module)) {
      return isJsonObject(override) ? override : undefined
    }
  }
  return undefined
}

/** Python's re.match: from the start, and not to the end. */
function matches(pattern: string, module: string): boolean {
  try {
    return new RegExp(`^(?:${pattern})`).test(module)
  } catch {
    return false
  }
}
