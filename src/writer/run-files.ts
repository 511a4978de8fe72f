/**
 * The names of what a run keeps for itself beside its output while it works: lock, journal, and the manifest of a part.
 * None of them is ever copied from an input.
 */
import { basename } from "node:path"
import { RESERVED_PREFIX } from "../plan/conversion.ts"
import type { Part } from "../plan/part.ts"

/** Where a run writes, as far as such names depend on it. */
export interface RunPlace {
  readonly kind: "file" | "folder"
  /** The output. */
  readonly path: string
  /** The folder in which files are written. */
  readonly folder: string
  /** The run makes only this part of the output. */
  readonly part?: Part | undefined
}

/** `manifest` is that of a part; an output's own has another name (place.ts). */
export type RunFile = "lock" | "journal" | "manifest"

const PART_FILE = new RegExp(
  `^${RESERVED_PREFIX.replace(".", "\\.")}-part-([1-9][0-9]{0,5})-of-([1-9][0-9]{0,5})\\.(lock|journal|manifest)$`,
)

/** Name of such a file in the folder of the place. */
export function runFileName({ kind, path, part }: RunPlace, file: RunFile): string {
  if (part !== undefined) return `${RESERVED_PREFIX}-part-${part.index}-of-${part.count}.${file}`
  return kind === "folder" ? `${RESERVED_PREFIX}.${file}` : `${RESERVED_PREFIX}-${basename(path)}.${file}`
}

/** The part, and which of its files, a name stands for; undefined for all other names. */
export function parsePartFile(name: string): { readonly part: Part; readonly file: string } | undefined {
  const [, index, count, file = ""] = PART_FILE.exec(name) ?? []
  return index === undefined ? undefined : { part: { index: Number(index), count: Number(count) }, file }
}
