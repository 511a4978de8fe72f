/**
 * Vectors in files: .npy of NumPy (NEP 1 and numpy.lib.format, versions 1 to 3) with little-endian floats of 2, 4 or 8
 * bytes in C order, and plain little-endian f32.
 */
import { readWhole } from "../containers/file.ts"
import { escapeText, fileFault } from "../containers/quote.ts"
import { UsageError } from "../errors.ts"

/** 16 columns of a million values are far more than any layer takes. */
const FILE_SIZE_MAX = 256 * 1024 * 1024
/** numpy itself refuses longer headers unless told otherwise. */
const HEADER_SIZE_MAX = 10_000
const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59] as const

export interface NpyArray {
  readonly shape: readonly number[]
  /** In C order. */
  readonly values: Float32Array
}

/** Reads activations from a file by its ending: `.npy`, or `.f32` with values one behind the other. */
export async function readVectorFile(path: string): Promise<NpyArray> {
  const isNpy = path.endsWith(".npy")
  if (!isNpy && !path.endsWith(".f32")) {
    throw new UsageError(`${escapeText(path)}: is neither .npy nor .f32`)
  }
  const bytes = await readWhole(path, FILE_SIZE_MAX)
  if (isNpy) return parseNpy(path, bytes)
  if (bytes.byteLength % 4 !== 0) {
    throw fileFault(path, "is no list of f32", {
      expected: "a multiple of 4 bytes",
      found: `${bytes.byteLength} bytes`,
    })
  }
  return { shape: [bytes.byteLength / 4], values: floats(bytes, 4) }
}

/** Parses a .npy file; `path` is for messages. Throws MalformedError. */
export function parseNpy(path: string, bytes: Uint8Array): NpyArray {
  if (MAGIC.some((byte, i) => bytes[i] !== byte)) throw fileFault(path, "is no .npy file")
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const version = bytes[6] ?? 0
  if (version < 1 || version > 3 || bytes.byteLength < 12) throw fileFault(path, "is no .npy file of version 1 to 3")
  const lengthBytes = version === 1 ? 2 : 4
  const headerSize = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true)
  const begin = 8 + lengthBytes + headerSize
  if (headerSize > HEADER_SIZE_MAX || begin > bytes.byteLength) throw fileFault(path, "its header does not end")
  const header = new TextDecoder("latin1").decode(bytes.subarray(8 + lengthBytes, begin))
  const { width, shape } = parseHeader(path, header)
  const data = bytes.subarray(begin)
  const count = shape.reduce((product, dimension) => product * dimension, 1)
  if (!Number.isSafeInteger(count) || data.byteLength !== count * width) {
    throw fileFault(path, "its size does not fit its shape", {
      expected: `${count * width} bytes of values`,
      found: `${data.byteLength}`,
    })
  }
  return { shape, values: floats(data, width) }
}

function parseHeader(path: string, header: string): { width: 2 | 4 | 8; shape: number[] } {
  const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1]
  const order = /'fortran_order':\s*(True|False)/.exec(header)?.[1]
  const shape = /'shape':\s*\(([\d\s,]*)\)/.exec(header)?.[1]
  if (descr === undefined || order === undefined || shape === undefined) throw fileFault(path, "its header is broken")
  const width = ({ "<f2": 2, "<f4": 4, "<f8": 8 } as const)[descr]
  if (width === undefined) {
    throw fileFault(path, "its dtype cannot be used", { expected: "<f4, <f8 or <f2", found: escapeText(descr) })
  }
  const dimensions = shape.split(",").filter((word) => word.trim() !== "")
  if (order === "True" && dimensions.length > 1) {
    throw fileFault(path, "its values are in Fortran order", { hint: "save numpy.ascontiguousarray(x)" })
  }
  return { width, shape: dimensions.map(Number) }
}

function floats(bytes: Uint8Array, width: 2 | 4 | 8): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Float32Array.from({ length: bytes.byteLength / width }, (_, i) => {
    if (width === 4) return view.getFloat32(i * 4, true)
    return width === 8 ? view.getFloat64(i * 8, true) : view.getFloat16(i * 2, true)
  })
}

/** A .npy file of version 1.0 with f32 values; the data begins at a multiple of 64, as numpy writes it. */
export function formatNpy({ shape, values }: NpyArray): Uint8Array {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`
  const dictionary = `{'descr': '<f4', 'fortran_order': False, 'shape': ${tuple}, }`
  const size = Math.ceil((10 + dictionary.length + 1) / 64) * 64 - 10
  const head = new TextEncoder().encode(`${dictionary.padEnd(size - 1)}\n`)
  const bytes = new Uint8Array(10 + head.byteLength + values.byteLength)
  bytes.set([...MAGIC, 1, 0, head.byteLength & 0xff, head.byteLength >> 8])
  bytes.set(head, 10)
  const view = new DataView(bytes.buffer, 10 + head.byteLength)
  for (const [i, value] of values.entries()) view.setFloat32(i * 4, value, true)
  return bytes
}
