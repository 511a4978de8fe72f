/**
 * The safetensors container: [u64 length][JSON header][data]. What is accepted equals the reference reader
 * (huggingface/safetensors 0.8.0) but for three things that it lets pass and the format forbids: duplicate keys, a
 * tensor entry that is an array, a dtype that is an object. It accepts leading white space, any tensor name, unknown
 * fields, `__metadata__: null`, tensors in any order and at any alignment, zero-size tensors and scalars.
 *
 * Only the header is read. Tensors must tile the data section: no holes, no overlap, nothing behind the last one.
 */
import { basename } from "node:path"
import { RefusedError } from "../errors.ts"
import type { ContainerFile, SourceFile, StoredTensor } from "./container.ts"
import { DTYPE_BITS, isSafetensorsDtype, type SafetensorsDtype, tensorBytes } from "./dtype.ts"
import { type ByteReader, type Opener, readExactly, withFile } from "./file.ts"
import { foreignFile } from "./foreign.ts"
import { decodeUtf8, JsonReader } from "./json.ts"
import { type EntryFields, scanPlainEntry } from "./plain-entry.ts"
import { faultLine, fileFault, quote, tensorFault } from "./quote.ts"

/**
 * The reference refuses longer headers, so no tool could read such a file. Also what one header may cost in memory.
 */
export const HEADER_SIZE_MAX = 100_000_000
/** The length word. */
const PREFIX_SIZE = 8
/** The data section starts at a multiple of this in files of the reference writer, and of `encodeHeader`. */
const DATA_ALIGNMENT = 8
const METADATA_KEY = "__metadata__"
/** Characters that JSON writes as they are. */
const PLAIN_NAME = /^[A-Za-z0-9._-]*$/
/**
 * Opens a file and reads its header. `name` is what the checkpoint calls it. Throws MalformedError where the header
 * breaks the format or does not fit the file, UnsupportedError for a known other format, IoError where it cannot be
 * read, and what `opener` throws.
 */
export async function openSafetensors(
  path: string,
  name: string = basename(path),
  opener?: Opener,
): Promise<ContainerFile> {
  const parse = async (handle: ByteReader, file: SourceFile) => {
    const prefix = await readExactly(handle, path, 0, Math.min(PREFIX_SIZE, file.size))
    const size = headerSize(prefix, file)
    return parseHeader(await readExactly(handle, path, PREFIX_SIZE, size), file)
  }
  return await withFile(path, name, parse, opener)
}

/** The length word of a file, checked against the limit and the file before anything of that size is allocated. */
export function headerSize(prefix: Uint8Array, file: SourceFile): number {
  if (prefix.length < PREFIX_SIZE) {
    const found = `${file.size} bytes`
    throw (
      foreignFile(file.path, prefix) ??
      fileFault(file.path, "not a safetensors file", { expected: "at least 8 bytes", found })
    )
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset, PREFIX_SIZE).getBigUint64(0, true)
  if (length > BigInt(HEADER_SIZE_MAX)) {
    const expected = `at most ${HEADER_SIZE_MAX} bytes`
    throw (
      foreignFile(file.path, prefix) ??
      fileFault(file.path, "header is too long", { expected, found: `${length} bytes` })
    )
  }
  const available = file.size - PREFIX_SIZE
  if (length > BigInt(available)) {
    const hint = "the file is cut off; download it again"
    throw (
      foreignFile(file.path, prefix) ??
      fileFault(file.path, "header ends past the end of the file", {
        expected: `${length} bytes`,
        found: `${available} bytes`,
        hint,
      })
    )
  }
  return Number(length)
}

/** The header of `file` from its JSON bytes. Pure: touches no file. */
export function parseHeader(header: Uint8Array, file: SourceFile): ContainerFile {
  const dataStart = PREFIX_SIZE + header.length
  const place = `${file.path}: header`
  const reader = new JsonReader(decodeUtf8(header, place), place)
  const names = new Set<string>()
  const tensors: StoredTensor[] = []
  let metadata: ReadonlyMap<string, string> = new Map()
  reader.object((key) => {
    const count = names.size
    if (names.add(key).size === count) reader.duplicate(key)
    if (key === METADATA_KEY) metadata = readMetadata(reader)
    else tensors.push(readEntry(reader, key, file, dataStart))
  }, "a header that starts with {")
  reader.end()
  sortByOffset(tensors)
  checkTiling(tensors, file, dataStart)
  return { file, tensors, metadata, headerSize: dataStart }
}

function readMetadata(reader: JsonReader): ReadonlyMap<string, string> {
  const metadata = new Map<string, string>()
  if (reader.isNull()) return metadata
  reader.object((key) => {
    if (metadata.has(key)) reader.duplicate(key)
    metadata.set(key, reader.string(`a string as ${METADATA_KEY} value`))
  }, `an object as ${METADATA_KEY}`)
  return metadata
}

function readEntry(reader: JsonReader, name: string, file: SourceFile, dataStart: number): StoredTensor {
  const plain = reader.take(scanPlainEntry)
  if (plain === undefined) return checkEntry(name, readFields(reader, name, file), file, dataStart)
  return checkEntry(name, plain, file, dataStart)
}

function readFields(reader: JsonReader, name: string, file: SourceFile): EntryFields {
  let dtype: string | undefined
  let shape: number[] | undefined
  let offsets: number[] | undefined
  const others = new Set<string>()
  reader.object(
    (key) => {
      if (key === "dtype") {
        if (dtype !== undefined) reader.duplicate(key)
        dtype = reader.string("a dtype")
      } else if (key === "shape") {
        if (shape !== undefined) reader.duplicate(key)
        shape = readIntegers(reader, true)
      } else if (key === "data_offsets") {
        if (offsets !== undefined) reader.duplicate(key)
        offsets = readIntegers(reader, false)
      } else {
        if (others.has(key)) reader.duplicate(key)
        others.add(key)
        reader.skip()
      }
    },
    `an object for tensor ${quote(name)}`,
  )
  if (dtype === undefined || shape === undefined || offsets === undefined) {
    const missing = dtype === undefined ? "dtype" : shape === undefined ? "shape" : "data_offsets"
    throw tensorFault(file.path, name, `has no ${missing}`)
  }
  const [begin, end] = offsets
  if (begin === undefined || end === undefined || offsets.length !== 2) {
    throw tensorFault(file.path, name, "data_offsets is not a range", {
      expected: "2 numbers",
      found: String(offsets.length),
    })
  }
  return { dtype, shape, dataBegin: begin, dataEnd: end }
}

function readIntegers(reader: JsonReader, wide: boolean): number[] {
  const values: number[] = []
  reader.array(() => values.push(reader.integer(wide)))
  return values
}

function checkEntry(
  name: string,
  { dtype, shape, dataBegin: begin, dataEnd: end }: EntryFields,
  file: SourceFile,
  dataStart: number,
): StoredTensor {
  if (!isSafetensorsDtype(dtype)) {
    throw tensorFault(file.path, name, "unknown dtype", { expected: "one of safetensors", found: quote(dtype) })
  }
  if (end < begin) {
    throw tensorFault(file.path, name, "ends before it begins", { expected: `at least ${begin}`, found: String(end) })
  }
  const size = productOverflows(shape) ? undefined : tensorBytes(dtype, shape)
  if (size === undefined) {
    const what = `shape does not give whole bytes within range for ${dtype} of ${DTYPE_BITS[dtype]} bits`
    throw tensorFault(file.path, name, what, { found: shapeText(shape) })
  }
  if (size !== end - begin) {
    throw tensorFault(file.path, name, `data_offsets do not fit dtype and shape ${dtype} ${shapeText(shape)}`, {
      expected: `${size} bytes`,
      found: `${end - begin}`,
    })
  }
  return { name, dtype, shape, file, offset: dataStart + begin, size }
}

/** The reference multiplies from the left in 64 bits: [2^63, 0] is empty, [2^63, 2, 0] overflows before it is. */
function productOverflows(shape: readonly number[]): boolean {
  let product = 1
  for (const dimension of shape) {
    product *= dimension
    if (product >= 2 ** 64) return true
    if (product === 0) return false
  }
  return false
}

/** A shape for messages; a hostile one may have millions of dimensions. */
export function shapeText(shape: readonly number[]): string {
  return shape.length <= 12
    ? `[${shape.join(", ")}]`
    : `[${shape.slice(0, 12).join(", ")}, … ${shape.length} dimensions]`
}

/** By offset; of two at one place the empty one first, as no bytes lie between. Most files are sorted already. */
function sortByOffset(tensors: StoredTensor[]): void {
  const compare = (a: StoredTensor, b: StoredTensor) => a.offset - b.offset || a.size - b.size
  for (let i = 1; i < tensors.length; i += 1) {
    if (compare(tensors[i - 1]!, tensors[i]!) > 0) {
      tensors.sort(compare)
      return
    }
  }
}

function checkTiling(tensors: readonly StoredTensor[], file: SourceFile, dataStart: number): void {
  let position = dataStart
  let previous: StoredTensor | undefined
  for (const tensor of tensors) {
    if (tensor.offset !== position) {
      const overlap = tensor.offset < position
      const what = overlap
        ? `overlaps tensor ${quote(previous?.name ?? "")}`
        : `leaves a hole of ${tensor.offset - position} bytes before it`
      const expected = `data offset ${position - dataStart}`
      throw tensorFault(file.path, tensor.name, what, { expected, found: String(tensor.offset - dataStart) })
    }
    position += tensor.size
    previous = tensor
  }
  if (position === file.size) return
  const values = { expected: `${position} bytes`, found: `${file.size}` }
  if (position > file.size) {
    const hint = "the file is cut off; download it again"
    throw fileFault(file.path, "file ends before its tensors do", { ...values, hint })
  }
  throw fileFault(file.path, "file goes on after its last tensor", values)
}

/** What `encodeHeader` needs to know of a tensor. */
export interface HeaderTensor {
  readonly name: string
  readonly dtype: SafetensorsDtype
  readonly shape: readonly number[]
}

/**
 * Everything that stands before the tensors of a file: length word, JSON and padding to a multiple of 8. The tensors
 * lie one after the other in the given order, the first right behind these bytes. Their names must differ. Throws
 * RefusedError where the header passes the limit that readers have; `path` is for that message.
 */
export function encodeHeader(
  tensors: readonly HeaderTensor[],
  metadata: ReadonlyMap<string, string>,
  path: string,
): Uint8Array {
  const parts: string[] = []
  if (metadata.size > 0) parts.push(`"${METADATA_KEY}":{${[...metadata].map(metadataText).join(",")}}`)
  let offset = 0
  for (const { name, dtype, shape } of tensors) {
    const size = tensorBytes(dtype, shape)
    if (size === undefined) throw new Error(`no byte size: ${dtype} ${shapeText(shape)}`)
    const range = `[${offset},${offset + size}]`
    const text = PLAIN_NAME.test(name) ? `"${name}"` : JSON.stringify(name)
    parts.push(`${text}:{"dtype":"${dtype}","shape":[${dimensionsText(shape)}],"data_offsets":${range}}`)
    offset += size
  }
  const json = new TextEncoder().encode(`{${parts.join(",")}}`)
  const length = Math.ceil(json.length / DATA_ALIGNMENT) * DATA_ALIGNMENT
  if (length > HEADER_SIZE_MAX) {
    const what = `header of ${tensors.length} tensors is too long`
    const values = { expected: `at most ${HEADER_SIZE_MAX} bytes`, found: `${length}` }
    throw new RefusedError(faultLine(path, what, values), { hint: "write more files: --shard-size" })
  }
  const bytes = new Uint8Array(PREFIX_SIZE + length).fill(0x20)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true)
  bytes.set(json, PREFIX_SIZE)
  return bytes
}

/** A dimension beyond 2^53 (of an empty tensor) is exact as a double, but its shortest decimal form is not. */
function dimensionsText(shape: readonly number[]): string {
  if (shape.every((dimension) => Number.isSafeInteger(dimension))) return shape.join(",")
  return shape.map((dimension) => BigInt(dimension)).join(",")
}

function metadataText([key, value]: [string, string]): string {
  return `${JSON.stringify(key)}:${JSON.stringify(value)}`
}
