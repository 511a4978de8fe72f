/** What a compressed-tensors config declares, for the schemes of its formats. */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import { isJsonArray, isJsonObject, type JsonObject, jsonInteger } from "../containers/json.ts"

/**
 * The formats that a compressed-tensors config names, for the whole and per group; undefined where it is none or
 * names none.
 */
export function declaredFormats({ declared }: Checkpoint): ReadonlySet<string> | undefined {
  if (declared?.method !== "compressed-tensors") return undefined
  const formats = new Set<string>()
  for (const settings of [declared.settings, ...groupsOf(declared.settings)]) {
    const format = settings.get("format")
    if (typeof format === "string") formats.add(format)
  }
  return formats.size > 0 ? formats : undefined
}

/** Whether one of the formats is declared. */
export function declaresFormat(checkpoint: Checkpoint, ...formats: readonly string[]): boolean {
  const declared = declaredFormats(checkpoint)
  return declared !== undefined && formats.some((format) => declared.has(format))
}

/** The settings of each group of `config_groups`. */
export function groupsOf(settings: JsonObject): JsonObject[] {
  const groups = settings.get("config_groups")
  return isJsonObject(groups) ? [...groups.values()].filter(isJsonObject) : []
}

/**
 * The settings of the group that a module belongs to: one that names it, or has a pattern for it, before one that names
 * a class of modules. undefined where none is declared. Source: compressed_tensors 0.20.0, utils/match.py.
 */
export function groupOf({ declared }: Checkpoint, module: string): JsonObject | undefined {
  if (declared?.method !== "compressed-tensors") return undefined
  const groups = groupsOf(declared.settings)
  const named = groups.find((group) => targetsOf(group).some((target) => names(target, module)))
  // A class is a word with a capital: Linear, MoEGate. Which modules are of it, tensors do not say.
  return named ?? groups.find((group) => targetsOf(group).some((target) => /^[A-Z]\w*$/.test(target)))
}

function targetsOf(group: JsonObject): string[] {
  const targets = group.get("targets")
  return isJsonArray(targets) ? targets.filter((target) => typeof target === "string") : []
}

function names(target: string, module: string): boolean {
  if (!target.startsWith("re:")) return target === module
  try {
    // Python's re.match: from the start, and not to the end.
    return new RegExp(`^(?:${target.slice(3)})`).test(module)
  } catch {
    // A pattern of Python's that is none here names nothing.
    return false
  }
}

/** A whole number among the `weights` settings of a module's group. */
export function weightSetting(checkpoint: Checkpoint, module: string, key: string): number | undefined {
  const weights = groupOf(checkpoint, module)?.get("weights")
  return isJsonObject(weights) ? jsonInteger(weights.get(key)) : undefined
}
