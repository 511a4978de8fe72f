/**
 * The manifest of an output: size and BLAKE3 of each file, and place and BLAKE3 of each tensor. A file's hash is that
 * of all its bytes, as `b3sum` prints it; a tensor's that of its data.
 */
import { MANIFEST_NAME } from "../checkpoint/manifest.ts"
import { readWhole } from "../containers/file.ts"
import {
  isJsonArray,
  isJsonObject,
  type JsonObject,
  type JsonValue,
  jsonInteger,
  parseJsonObject,
} from "../containers/json.ts"
import { fileFault, quote } from "../containers/quote.ts"
import { VERSION } from "../version.ts"

export interface ManifestTensor {
  readonly name: string
  readonly dtype: string
  readonly shape: readonly number[]
  /** Bytes from the start of the file. */
  readonly offset: number
  readonly size: number
  readonly hash: string
}

export interface ManifestFile {
  readonly name: string
  readonly size: number
  readonly hash: string
  /** None for files that are no shards. */
  readonly tensors: readonly ManifestTensor[]
}

/** A manifest of 10^6 tensors takes about 250 MB. */
const MANIFEST_SIZE_MAX = 512 * 1024 * 1024

/** The text of a manifest. */
export function manifestText(files: readonly ManifestFile[]): string {
  const entries = files.map(({ name, size, hash, tensors }) => {
    const list = tensors.map((tensor) => {
      const { dtype, shape, offset, size: bytes } = tensor
      return [tensor.name, { dtype, shape, offset, size: bytes, blake3: tensor.hash }]
    })
    return [name, { size, blake3: hash, ...(list.length > 0 ? { tensors: Object.fromEntries(list) } : {}) }]
  })
  return `${JSON.stringify({ dequantizer: VERSION, schema: 1, files: Object.fromEntries(entries) }, null, 2)}\n`
}

/** Reads a manifest. Throws MalformedError where it is none, IoError. */
export async function readManifest(path: string): Promise<ManifestFile[]> {
  const manifest = parseJsonObject(await readWhole(path, MANIFEST_SIZE_MAX), path)
  if (jsonInteger(manifest.get("schema")) !== 1 || typeof manifest.get("dequantizer") !== "string") {
    throw fileFault(path, `not a ${MANIFEST_NAME} of this program`)
  }
  const files = objectAt(path, manifest, "files")
  return [...files].map(([name, value]) => {
    if (!isPlainName(name)) throw fileFault(path, `file ${quote(name)} is not a name in the folder`)
    const entry = requireObject(path, value, `file ${quote(name)}`)
    const tensors = entry.has("tensors") ? [...objectAt(path, entry, "tensors")] : []
    return {
      name,
      ...sizeAndHash(path, entry, `file ${quote(name)}`),
      tensors: tensors.map(([tensor, fields]) => readTensor(path, tensor, fields)).sort((a, b) => a.offset - b.offset),
    }
  })
}

function readTensor(path: string, name: string, value: JsonValue): ManifestTensor {
  const what = `tensor ${quote(name)}`
  const fields = requireObject(path, value, what)
  const dtype = fields.get("dtype")
  const shape = fields.get("shape")
  const offset = jsonInteger(fields.get("offset"))
  if (typeof dtype !== "string" || !isJsonArray(shape) || offset === undefined || offset < 0) {
    throw fileFault(path, `${what} is incomplete`)
  }
  return { name, dtype, shape: shape.map((size) => jsonInteger(size) ?? 0), offset, ...sizeAndHash(path, fields, what) }
}

function sizeAndHash(path: string, fields: JsonObject, what: string): { size: number; hash: string } {
  const size = jsonInteger(fields.get("size"))
  const hash = fields.get("blake3")
  if (size === undefined || size < 0 || typeof hash !== "string") throw fileFault(path, `${what} is incomplete`)
  if (!/^[0-9a-f]{64}$/.test(hash)) throw fileFault(path, `${what} has no BLAKE3 hash`, { found: quote(hash) })
  return { size, hash }
}

function objectAt(path: string, parent: JsonObject, key: string): JsonObject {
  return requireObject(path, parent.get(key), quote(key))
}

function requireObject(path: string, value: JsonValue | undefined, what: string): JsonObject {
  if (!isJsonObject(value)) throw fileFault(path, `${what} is not an object`)
  return value
}

/** The manifest is a stranger's: its names must not lead out of the folder. */
function isPlainName(name: string): boolean {
  return name !== "" && !name.startsWith("/") && !name.includes("\0") && !name.split("/").includes("..")
}
