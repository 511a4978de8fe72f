/** What a compressed-tensors config declares, for the schemes of its formats. */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import { isJsonObject, type JsonObject } from "../containers/json.ts"

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
