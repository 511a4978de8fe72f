/**
 * The GGUF container: [magic, version, counts][metadata][tensor infos][padding][data]. Versions 2 and 3, little-endian.
 * Only the header is read, in pieces that grow with what it turns out to hold; time is linear in its size. Source:
 * ggml-org/ggml, docs/gguf.md and src/gguf.cpp.
 *
 * Dimensions stand fastest first in the file and last in `StoredTensor.shape`. Tensors must lie in the file, aligned,
 * and must not overlap; bytes between them are padding.
 */
import { basename } from "node:path"
import { UnsupportedError } from "../errors.ts"
import type { ContainerFile, SourceFile, StoredTensor } from "./container.ts"
import { type Dtype, tensorBytes } from "./dtype.ts"
import { type ByteReader, type Opener, readExactly, withFile } from "./file.ts"
import { GGML_BLOCKS, type GgmlType, isGgmlType } from "./ggml-type.ts"
import { GgufCursor, ShortRead, unsupportedGguf } from "./gguf-cursor.ts"
import { type GgufMetadata, ggufNumber, readValue } from "./gguf-metadata.ts"
import { fileFault, quote, tensorFault, tensorLine } from "./quote.ts"
import { shapeText } from "./safetensors.ts"

export const GGUF_MAGIC = "GGUF"
/** First read: enough for a model with a small vocabulary. */
const READ_SIZE = 1 << 18
/** The largest vocabularies take 20 MB. Also what one header may cost in memory. */
const HEADER_SIZE_MAX = 256 * 2 ** 20
const DIMENSION_COUNT_MAX = 4
const ALIGNMENT_KEY = "general.alignment"
const DEFAULT_ALIGNMENT = 32
/** Larger than any page; a file that asks for more means its tensors to be out of reach. */
const ALIGNMENT_MAX = 2 ** 24
/** Least bytes of one metadata entry: key length, type, value. */
const ENTRY_SIZE_MIN = 8 + 4 + 1
/** Least bytes of one tensor info: name length, number of dimensions, type, offset. */
const INFO_SIZE_MIN = 8 + 4 + 4 + 8

/** Types of plain numbers, by their number in ggml. */
const PLAIN_TYPES: Readonly<Record<number, Dtype>> = {
  0: "F32",
  1: "F16",
  24: "I8",
  25: "I16",
  26: "I32",
  27: "I64",
  28: "F64",
  30: "BF16",
}

/** Types that no file should have: ggml used them once, or uses them for activations only. */
const OTHER_TYPES: Readonly<Record<number, string>> = {
  4: "Q4_2, which ggml has given up",
  5: "Q4_3, which ggml has given up",
  9: "Q8_1, which ggml has for activations only",
  15: "Q8_K, which ggml has for activations only",
  31: "Q4_0_4_4, which ggml has given up",
  32: "Q4_0_4_8, which ggml has given up",
  33: "Q4_0_8_8, which ggml has given up",
  36: "IQ4_NL_4_4, which ggml has given up",
  37: "IQ4_NL_4_8, which ggml has given up",
  38: "IQ4_NL_8_8, which ggml has given up",
}

const BLOCK_TYPES: ReadonlyMap<number, GgmlType> = new Map(
  Object.entries(GGML_BLOCKS).flatMap(([name, { id }]) => (isGgmlType(name) ? [[id, name] as const] : [])),
)

export interface GgufFile extends ContainerFile {
  readonly gguf: GgufMetadata
}

/**
 * Opens a file and reads its header. `name` is what the checkpoint calls it. Throws MalformedError where the header
 * breaks the format or does not fit the file, UnsupportedError for other versions, byte orders and tensor types,
 * IoError where it cannot be read, and what `opener` throws.
 */
export async function openGguf(path: string, name: string = basename(path), opener?: Opener): Promise<GgufFile> {
  return await withFile(path, name, parseGguf, opener)
}

/** The header of `file`, read through `handle` as far as it goes. */
export async function parseGguf(handle: ByteReader, file: SourceFile): Promise<GgufFile> {
  const { path } = file
  const first = await readExactly(handle, path, 0, Math.min(READ_SIZE, file.size))
  const cursor = new GgufCursor(path, file.size, first)
  const { version, tensorCount, entryCount } = readStart(cursor)
  const values = new Map<string, ReturnType<typeof readValue>>()
  for (let i = 0; i < entryCount; i += 1) {
    const [key, value] = await item(handle, cursor, readEntry)
    if (values.has(key)) throw fileFault(path, `metadata ${quote(key)} is there twice`)
    values.set(key, value)
  }
  const infos = new Map<string, TensorInfo>()
  for (let i = 0; i < tensorCount; i += 1) {
    const info = await item(handle, cursor, readInfo)
    if (infos.has(info.name)) throw tensorFault(path, info.name, "is there twice")
    infos.set(info.name, info)
  }
  const metadata = { version, alignment: DEFAULT_ALIGNMENT, values, bytes: cursor.bytes }
  const gguf: GgufMetadata = { ...metadata, alignment: readAlignment(metadata, path) }
  const headerSize = Math.ceil(cursor.position / gguf.alignment) * gguf.alignment
  const tensors = [...infos.values()].map((info) => placeTensor(info, file, headerSize, gguf.alignment))
  checkOverlap(tensors, headerSize)
  return { file, tensors, metadata: new Map(), headerSize, gguf }
}

/** Reads one item; where its bytes are not there yet, at least doubles what has been read and reads it again. */
async function item<T>(handle: ByteReader, cursor: GgufCursor, read: (cursor: GgufCursor) => T): Promise<T> {
  const start = cursor.position
  for (;;) {
    try {
      return read(cursor)
    } catch (error) {
      if (!(error instanceof ShortRead)) throw error
      cursor.position = start
      await readOn(handle, cursor, error.end)
    }
  }
}

async function readOn(handle: ByteReader, cursor: GgufCursor, end: number): Promise<void> {
  if (end > HEADER_SIZE_MAX) {
    const values = { expected: `at most ${HEADER_SIZE_MAX} bytes`, found: `at least ${end}` }
    throw fileFault(cursor.path, "header is too long", values)
  }
  const known = cursor.bytes
  const size = Math.min(Math.max(end, 2 * known.length), HEADER_SIZE_MAX, cursor.fileSize)
  const bytes = new Uint8Array(size)
  bytes.set(known)
  bytes.set(await readExactly(handle, cursor.path, known.length, size - known.length), known.length)
  cursor.extend(bytes)
}

function readStart(cursor: GgufCursor) {
  const { path, fileSize } = cursor
  const magic = String.fromCharCode(...cursor.bytes.subarray(0, GGUF_MAGIC.length))
  if (magic !== GGUF_MAGIC) {
    throw fileFault(path, "not a GGUF file", { expected: quote(GGUF_MAGIC), found: quote(magic) })
  }
  if (fileSize < 24) throw fileFault(path, "not a GGUF file", { expected: "at least 24 bytes", found: `${fileSize}` })
  cursor.position = GGUF_MAGIC.length
  const version = cursor.u32("version")
  const models = "use a GGUF file that llama.cpp's current tools have written"
  if (version !== 0 && (version & 0xffff) === 0) {
    throw unsupportedGguf(path, "big-endian GGUF is not supported", "use the little-endian file of the same model")
  }
  if (version === 1) throw unsupportedGguf(path, "GGUF version 1 is not supported", models)
  if (version !== 2 && version !== 3) {
    throw fileFault(path, "unknown GGUF version", { expected: "2 or 3", found: String(version) })
  }
  const tensorCount = cursor.count(INFO_SIZE_MIN, "number of tensors")
  const entryCount = cursor.count(ENTRY_SIZE_MIN, "number of metadata entries")
  return { version, tensorCount, entryCount }
}

function readEntry(cursor: GgufCursor): [key: string, value: ReturnType<typeof readValue>] {
  const key = cursor.string("metadata key")
  return [key, readValue(cursor, key)]
}

function readAlignment(metadata: GgufMetadata, path: string): number {
  const value = metadata.values.get(ALIGNMENT_KEY)
  if (value === undefined) return DEFAULT_ALIGNMENT
  const number = ggufNumber(metadata, ALIGNMENT_KEY)
  const valid = value.type === "uint32" && number !== undefined && number > 0 && number <= ALIGNMENT_MAX
  // A power of two has one bit.
  if (valid && (number & (number - 1)) === 0) return number
  const expected = `uint32, a power of two up to ${ALIGNMENT_MAX}`
  throw fileFault(path, `metadata ${quote(ALIGNMENT_KEY)} is wrong`, {
    expected,
    found: `${value.type} ${number ?? ""}`,
  })
}

interface TensorInfo {
  readonly name: string
  readonly shape: readonly number[]
  readonly dtype: Dtype
  /** From the start of the data. */
  readonly offset: bigint
}

function readInfo(cursor: GgufCursor): TensorInfo {
  const name = cursor.string("tensor name")
  const what = `tensor ${quote(name)}`
  const dimensionCount = cursor.u32(what)
  if (dimensionCount > DIMENSION_COUNT_MAX) {
    const values = { expected: `at most ${DIMENSION_COUNT_MAX}`, found: String(dimensionCount) }
    throw tensorFault(cursor.path, name, "has too many dimensions", values)
  }
  const shape: number[] = []
  for (let i = 0; i < dimensionCount; i += 1) {
    const size = cursor.u64(what)
    if (size === 0n || size > BigInt(Number.MAX_SAFE_INTEGER)) {
      const values = { expected: `1 to ${Number.MAX_SAFE_INTEGER}`, found: String(size) }
      throw tensorFault(cursor.path, name, `dimension ${i} is out of range`, values)
    }
    shape.unshift(Number(size))
  }
  const dtype = tensorType(cursor.u32(what), name, cursor.path)
  return { name, shape, dtype, offset: cursor.u64(what) }
}

function tensorType(number: number, name: string, path: string): Dtype {
  const dtype = PLAIN_TYPES[number] ?? BLOCK_TYPES.get(number)
  if (dtype !== undefined) return dtype
  const other = OTHER_TYPES[number]
  const what = other === undefined ? `has the unknown ggml type ${number}` : `has the ggml type ${other}`
  throw new UnsupportedError(tensorLine(path, name, what), { hint: "`dequantizer formats` lists what is supported" })
}

/** The tensor of an info, checked against the file. */
function placeTensor(info: TensorInfo, file: SourceFile, dataStart: number, alignment: number): StoredTensor {
  const { name, dtype, shape } = info
  const { path } = file
  const size = tensorBytes(dtype, shape)
  if (size === undefined) {
    const block = isGgmlType(dtype) ? ` of rows of whole ${GGML_BLOCKS[dtype].columns}-column blocks` : ""
    const what = `shape does not give a size within range${block} for ${dtype}`
    throw tensorFault(path, name, what, { found: shapeText(shape) })
  }
  if (info.offset % BigInt(alignment) !== 0n) {
    const values = { expected: `a multiple of ${alignment}`, found: String(info.offset) }
    throw tensorFault(path, name, "offset is not aligned", values)
  }
  const room = file.size - dataStart
  if (room < size || info.offset > BigInt(room - size)) {
    throw tensorFault(path, name, "ends past the end of the file", {
      expected: `at most ${Math.max(room, 0)} bytes of data`,
      found: `${size} bytes at ${info.offset}`,
      hint: "the file is cut off; download it again",
    })
  }
  return { name, dtype, shape, file, offset: dataStart + Number(info.offset), size }
}

function checkOverlap(tensors: readonly StoredTensor[], dataStart: number): void {
  const sorted = tensors.toSorted((a, b) => a.offset - b.offset)
  for (const [i, tensor] of sorted.entries()) {
    const before = sorted[i - 1]
    if (before === undefined || before.offset + before.size <= tensor.offset) continue
    throw tensorFault(tensor.file.path, tensor.name, `overlaps tensor ${quote(before.name)}`, {
      expected: `an offset of at least ${before.offset + before.size - dataStart}`,
      found: String(tensor.offset - dataStart),
    })
  }
}
