/**
 * What a full comparison looks at beside the values of tensors: metadata of headers and index, config.json, and the files
 * that travel with the model. With it every byte of an output is accounted for.
 */
import { join } from "node:path"
import type { Checkpoint, SideFile } from "../checkpoint/checkpoint.ts"
import { insideOpener } from "../checkpoint/links.ts"
import { elementCount } from "../containers/dtype.ts"
import { type ByteReader, errorCode, ioFault, readExactly, withFile } from "../containers/file.ts"
import { describeJson, type JsonValue, stringifyJson } from "../containers/json.ts"
import { quote } from "../containers/quote.ts"
import { IoError } from "../errors.ts"
import type { Plan } from "../plan/plan.ts"

const CHUNK_SIZE = 4 * 2 ** 20

/** Sentences on what differs from what the conversion that `plan` describes writes. Throws IoError. */
export async function smallFileProblems(plan: Plan, output: Checkpoint): Promise<string[]> {
  const problems = [...metadataProblems(plan.checkpoint, output), ...indexProblems(plan.checkpoint, output)]
  if (plan.kind !== "folder" || output.kind !== "folder") return problems
  const texts = [...plan.textFiles, ...(plan.config === undefined ? [] : [{ name: "config.json", text: plan.config }])]
  for (const { name, text } of texts) {
    if (await isText(join(output.folder, name), text)) continue
    problems.push(`file ${quote(name)} is not what the conversion writes`)
  }
  for (const file of plan.sideFiles) {
    if (await isCopy(join(output.folder, file.name), file)) continue
    problems.push(`file ${quote(file.name)} is not that of the source`)
  }
  return problems
}

/** Whether a file has this text and nothing else. */
export async function isText(path: string, text: string): Promise<boolean> {
  const bytes = new TextEncoder().encode(text)
  return await isSame(path, bytes.length, async (offset, size) => bytes.subarray(offset, offset + size))
}

/** Whether a file has the bytes of a side file. */
export async function isCopy(copy: string, { name, path, size, bounds }: SideFile): Promise<boolean> {
  const compare = (handle: ByteReader) =>
    isSame(copy, size, (offset, count) => readExactly(handle, path, offset, count))
  return await withFile(path, name, compare, insideOpener(bounds))
}

/** Metadata of a shard is that of some shard of the source; `format` is "pt". */
function metadataProblems(source: Checkpoint, output: Checkpoint): string[] {
  const known = new Set(source.shards.flatMap(({ metadata }) => [...metadata].map((entry) => JSON.stringify(entry))))
  return output.shards.flatMap(({ file, metadata }) => {
    const strange = [...metadata].filter(([key, value]) =>
      key === "format" ? value !== "pt" : !known.has(JSON.stringify([key, value])),
    )
    const lacks = metadata.has("format") ? [] : [`file ${quote(file.name)}: its metadata has no format`]
    return [
      ...strange.map(([key]) => `file ${quote(file.name)}: its metadata ${quote(key)} is not the source's`),
      ...lacks,
    ]
  })
}

function indexProblems(source: Checkpoint, output: Checkpoint): string[] {
  const { index } = output
  if (index === undefined) return []
  const tensors = [...output.tensors.values()]
  const count = tensors.reduce((sum, { shape }) => sum + elementCount(shape)!, 0)
  const expected = new Map<string, string>()
  for (const [key, value] of source.index?.metadata ?? []) expected.set(key, stringifyJson(value))
  expected.set("total_size", String(output.tensorBytes))
  if (expected.has("total_parameters")) expected.set("total_parameters", String(count))
  return [...expected].flatMap(([key, text]) => {
    const found = index.metadata.get(key)
    if (found !== undefined && stringifyJson(found) === text) return []
    return [`file ${quote(index.name)}: its metadata ${quote(key)} is wrong (${valuesText(text, found)})`]
  })
}

function valuesText(expected: string, found: JsonValue | undefined): string {
  return `expected ${expected.slice(0, 40)}, found ${describeJson(found)}`
}

/** Whether a file begins with the `size` bytes that `expected` gives, and has as many as `sizeWhole`. */
export async function isSame(
  path: string,
  size: number,
  expected: (offset: number, size: number) => Promise<Uint8Array>,
  sizeWhole = size,
): Promise<boolean> {
  try {
    return await withFile(path, path, async (handle, file) => {
      if (file.size !== sizeWhole) return false
      for (let offset = 0; offset < size; offset += CHUNK_SIZE) {
        const count = Math.min(CHUNK_SIZE, size - offset)
        const [a, b] = await Promise.all([readExactly(handle, path, offset, count), expected(offset, count)])
        if (Buffer.compare(a, b) !== 0) return false
      }
      return true
    })
  } catch (error) {
    if (error instanceof IoError && errorCode(error.cause) === "ENOENT") return false
    throw ioFault(path, error)
  }
}
