/**
 * What a run makes of what: the program's version, the options that shape the output, each source file, and the output
 * as it is planned. A run may only go on with what an earlier one has left where all of it is the same.
 */
import { createHash } from "node:crypto"
import type { ContainerFile } from "../containers/container.ts"
import { readExactly, withFile } from "../containers/file.ts"
import { isJsonArray, isJsonObject, type JsonValue, jsonInteger, stringifyJson } from "../containers/json.ts"
import { escapeText, quote } from "../containers/quote.ts"
import { IoError } from "../errors.ts"
import type { Plan } from "../plan/plan.ts"
import { VERSION } from "../version.ts"
import type { RunOptions } from "./types.ts"

export interface SourceFingerprint {
  readonly name: string
  readonly size: number
  /** Nanoseconds since 1970, as text: more than a double holds. */
  readonly mtime: string
  /** SHA-256 of the header, in hex. */
  readonly header: string
}

export interface Fingerprint {
  readonly version: string
  /** Option of the command line → its value as text, in the order in which they are compared. */
  readonly options: readonly (readonly [name: string, value: string])[]
  readonly sources: readonly SourceFingerprint[]
  /** SHA-256 of all else that the output depends on: settings of the source, headers and small files of the output. */
  readonly output: string
}

/** Reads the headers of the sources. Throws IoError. */
export async function fingerprintOf(plan: Plan, run: RunOptions): Promise<Fingerprint> {
  const sources: SourceFingerprint[] = []
  for (const shard of plan.checkpoint.shards) sources.push(await sourceFingerprint(shard))
  return { version: VERSION, options: optionsOf(plan, run), sources, output: outputHash(plan) }
}

function optionsOf({ kind, options }: Plan, run: RunOptions): [string, string][] {
  return [
    ["--to", options.to],
    ["--cast-all", String(options.castAll)],
    ["--layout", options.layout],
    ["--include", options.include.join(" ")],
    ["--exclude", options.exclude.join(" ")],
    ["--missing-scale", options.missingScale],
    ["--non-finite", run.nonFinite ?? "warn"],
    ["--manifest", String(run.manifest ?? false)],
    ["--shard-size", String(options.shardSize)],
    ["kind of output", kind],
  ]
}

async function sourceFingerprint({ file, headerSize }: ContainerFile): Promise<SourceFingerprint> {
  const header = await withFile(file.path, file.name, async (handle, now) => {
    if (now.device === file.device && now.inode === file.inode)
      return await readExactly(handle, file.path, 0, headerSize)
    throw new IoError(`${escapeText(file.path)}: is another file since the run began`, {
      hint: "run again when nothing writes to it",
    })
  })
  return { name: file.name, size: file.size, mtime: String(file.mtimeNs), header: sha256(header) }
}

function outputHash(plan: Plan): string {
  const hash = createHash("sha256")
  const add = (name: string, content: string | Uint8Array) => {
    hash.update(`${JSON.stringify(name)} ${content.length}\n`)
    hash.update(content)
  }
  for (const { name, head, size } of plan.shards) add(`${name} ${size}`, head)
  for (const { name, text } of plan.textFiles) add(name, text)
  const { configText, declared } = plan.checkpoint
  add("config.json", configText ?? "")
  add(declared?.origin ?? "", declared === undefined ? "" : stringifyJson(declared.settings))
  add(plan.index?.name ?? "", plan.index?.text ?? "")
  for (const { name, size } of plan.sideFiles) add(name, String(size))
  return hash.digest("hex")
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex")
}

/** What differs, for a message; undefined where nothing does. */
export function describeDifference(before: Fingerprint, now: Fingerprint): string | undefined {
  if (before.version !== now.version) return `it was begun by version ${before.version}, and this is ${now.version}`
  const options = new Map(before.options)
  for (const [name, value] of now.options) {
    const old = options.get(name)
    if (old !== value) return `${name} differs (expected ${quote(old ?? "nothing")}, found ${quote(value)})`
  }
  return (
    describeSources(before.sources, now.sources) ??
    (before.output === now.output ? undefined : "config.json or another small file of the source differs")
  )
}

function describeSources(before: readonly SourceFingerprint[], now: readonly SourceFingerprint[]): string | undefined {
  const found = new Map(now.map((source) => [source.name, source]))
  for (const old of before) {
    const source = found.get(old.name)
    if (source === undefined) return `source ${quote(old.name)} is not there any more`
    found.delete(old.name)
    const text = `source ${quote(old.name)} has changed`
    if (source.size !== old.size) return `${text} (expected ${old.size} bytes, found ${source.size})`
    if (source.header !== old.header) return `${text}: its header differs`
    if (source.mtime !== old.mtime) return `${text}: it was written to since`
  }
  const [extra] = found.keys()
  return extra === undefined ? undefined : `source ${quote(extra)} was not there`
}

/** Reads what `JSON.stringify` made of a fingerprint; undefined where it is none. */
export function parseFingerprint(value: JsonValue | undefined): Fingerprint | undefined {
  if (!isJsonObject(value)) return undefined
  const version = value.get("version")
  const output = value.get("output")
  const options = value.get("options")
  const sources = value.get("sources")
  if (typeof version !== "string" || typeof output !== "string") return undefined
  if (!isJsonArray(options) || !isJsonArray(sources)) return undefined
  return { version, output, options: options.flatMap(parseOption), sources: sources.flatMap(parseSource) }
}

function parseOption(value: JsonValue): [string, string][] {
  const [name, text] = isJsonArray(value) ? value : []
  return typeof name === "string" && typeof text === "string" ? [[name, text]] : []
}

function parseSource(value: JsonValue): SourceFingerprint[] {
  if (!isJsonObject(value)) return []
  const [name, mtime, header] = ["name", "mtime", "header"].map((key) => value.get(key))
  const size = jsonInteger(value.get("size"))
  if (typeof name !== "string" || typeof mtime !== "string" || typeof header !== "string") return []
  return size === undefined ? [] : [{ name, size, mtime, header }]
}
