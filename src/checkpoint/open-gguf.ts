/**
 * GGUF files as a checkpoint: one file, or a split set of which any part is named. The parts say how many they are and
 * how many tensors they have together, so that a missing one is never overlooked.
 */
import { readdir } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { ioFault, type Opener } from "../containers/file.ts"
import { type GgufFile, openGguf } from "../containers/gguf.ts"
import { ggufNumber } from "../containers/gguf-metadata.ts"
import { escapeText, fileFault, quote } from "../containers/quote.ts"
import { UsageError } from "../errors.ts"
import type { Checkpoint } from "./checkpoint.ts"
import { mapConcurrent } from "./concurrent.ts"
import { collectTensors } from "./index-file.ts"
import { folderBounds, insideOpener } from "./links.ts"

/** Headers read at one time: sets have a few dozen parts at the most, and each header may be large. */
const OPEN_COUNT_MAX = 4
/** Parts are numbered from 1 in names, from 0 in metadata. */
const PART_NAME = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/

/**
 * Opens the file or set that `path` is of. Throws MalformedError where a header or the set is broken, UnsupportedError
 * for what GGUF has and this program does not, IoError where a file cannot be read, and what `opener` throws of `path`.
 */
export async function openGgufCheckpoint(path: string, opener?: Opener): Promise<Checkpoint> {
  const named = await openGguf(path, basename(path), opener)
  const shards = await openSet(named)
  const tensors = collectTensors(shards, undefined)
  checkTensorCount(shards, tensors.size)
  return {
    path,
    kind: "file",
    folder: dirname(path),
    shards,
    tensors,
    tensorBytes: [...tensors.values()].reduce((sum, tensor) => sum + tensor.size, 0),
    index: undefined,
    config: undefined,
    configText: undefined,
    declared: undefined,
    gguf: shards[0]!.gguf,
    sideFiles: [],
    leftOut: [],
  }
}

/** The GGUF file to open in a folder that has no other weights: a single one, or the first part of a single set. */
export function ggufFileOf(folder: string, names: readonly string[]): string | undefined {
  const files = names.filter((name) => name.toLowerCase().endsWith(".gguf"))
  const models = files.filter((name) => (PART_NAME.exec(name)?.[2] ?? "00001") === "00001")
  // A set without its first part is named all the same, so that the error says which part is missing.
  const [first] = models.length > 0 ? models : files
  if (models.length <= 1) return first
  const found = models.map(quote).join(", ")
  throw new UsageError(`${escapeText(folder)}: holds several GGUF files (${found})`, { hint: "name one of them" })
}

async function openSet(named: GgufFile): Promise<GgufFile[]> {
  const { path } = named.file
  const count = ggufNumber(named.gguf, "split.count") ?? 0
  const match = PART_NAME.exec(basename(path))
  if (count <= 1) {
    if (match === null || Number(match[3]) === 1) return [named]
    throw fileFault(path, "is named as one part of several, and its metadata has no split.count", {
      expected: String(Number(match[3])),
      found: count === 0 ? "nothing" : String(count),
    })
  }
  const number = ggufNumber(named.gguf, "split.no")
  if (number === undefined || number >= count) {
    const values = { expected: `0 to ${count - 1}`, found: String(number ?? "nothing") }
    throw fileFault(path, `is one of ${count} parts, and its split.no is wrong`, values)
  }
  if (match === null || Number(match[2]) !== number + 1 || Number(match[3]) !== count) {
    throw fileFault(path, `is part ${number + 1} of ${count}, and its name does not say so`, {
      expected: quote(partName(match?.[1] ?? "…", number, count)),
      found: quote(basename(path)),
      hint: "give the parts back the names that they were split to",
    })
  }
  const names = Array.from({ length: count }, (_, i) => partName(match[1]!, i, count))
  await requirePresent(dirname(path), names)
  const opener = insideOpener(await folderBounds(dirname(path)))
  return await mapConcurrent([...names.entries()], OPEN_COUNT_MAX, async ([i, name]) => {
    if (i === number) return named
    const part = await openGguf(join(dirname(path), name), name, opener)
    checkPart(part, i, count)
    return part
  })
}

function partName(base: string, number: number, count: number): string {
  const five = (value: number) => String(value).padStart(5, "0")
  return `${base}-${five(number + 1)}-of-${five(count)}.gguf`
}

async function requirePresent(folder: string, names: readonly string[]): Promise<void> {
  const present = new Set(
    await readdir(folder).catch((error: unknown) => {
      throw ioFault(folder, error)
    }),
  )
  const missing = names.filter((name) => !present.has(name))
  if (missing.length === 0) return
  throw fileFault(folder, `${missing.length} of ${names.length} parts are missing`, {
    expected: quote(missing[0]!),
    found: "no such file",
    hint: "the download is incomplete",
  })
}

function checkPart({ file, gguf }: GgufFile, number: number, count: number): void {
  for (const [key, expected] of [
    ["split.no", number],
    ["split.count", count],
  ] as const) {
    const found = ggufNumber(gguf, key)
    if (found === expected) continue
    throw fileFault(file.path, `is not part ${number + 1} of ${count}: ${key} is wrong`, {
      expected: String(expected),
      found: String(found ?? "nothing"),
      hint: "the parts are not of one set",
    })
  }
}

function checkTensorCount(shards: readonly GgufFile[], found: number): void {
  for (const { file, gguf } of shards) {
    const expected = ggufNumber(gguf, "split.tensors.count")
    if (expected === undefined || expected === found) continue
    throw fileFault(file.path, "split.tensors.count is not what the parts have", {
      expected: String(expected),
      found: String(found),
      hint: "the parts are not of one set",
    })
  }
}
