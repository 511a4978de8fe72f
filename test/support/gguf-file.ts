/**
 * GGUF files for tests, written byte by byte after docs/gguf.md of ggml and without any code of the program. Every field
 * can be given a value that it must not have.
 */

/** Numbers of the types of values. */
export const VALUE = {
  uint8: 0,
  int8: 1,
  uint16: 2,
  int16: 3,
  uint32: 4,
  int32: 5,
  float32: 6,
  bool: 7,
  string: 8,
  array: 9,
  uint64: 10,
  int64: 11,
  float64: 12,
} as const

/** Bytes of one part of a file, little-endian. */
export type Bytes = Uint8Array

export function u8(...values: number[]): Bytes {
  return Uint8Array.from(values)
}

export function u32(value: number): Bytes {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  return bytes
}

export function u64(value: bigint | number): Bytes {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true)
  return bytes
}

export function f32(value: number): Bytes {
  return new Uint8Array(Float32Array.of(value).buffer)
}

export function text(value: string): Bytes {
  const bytes = new TextEncoder().encode(value)
  return join(u64(bytes.length), bytes)
}

export function join(...parts: readonly Bytes[]): Bytes {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let position = 0
  for (const part of parts) {
    bytes.set(part, position)
    position += part.length
  }
  return bytes
}

/** A metadata entry. */
export function entry(key: string, type: number, value: Bytes): Bytes {
  return join(text(key), u32(type), value)
}

export function stringEntry(key: string, value: string): Bytes {
  return entry(key, VALUE.string, text(value))
}

export function u32Entry(key: string, value: number): Bytes {
  return entry(key, VALUE.uint32, u32(value))
}

export function arrayEntry(key: string, element: number, values: readonly Bytes[], count?: bigint): Bytes {
  return entry(key, VALUE.array, join(u32(element), u64(count ?? values.length), ...values))
}

export interface GgufTensor {
  readonly name: string
  /** Number of the ggml type. */
  readonly type: number
  /** As in the file: the row length first. */
  readonly dimensions: readonly (number | bigint)[]
  readonly bytes: Bytes
  /** Where the tensor claims to start; by default where it does. */
  readonly offset?: bigint
}

export interface GgufInput {
  readonly magic?: string
  readonly version?: number
  readonly tensorCount?: bigint
  readonly entryCount?: bigint
  readonly entries?: readonly Bytes[]
  readonly tensors?: readonly GgufTensor[]
  readonly alignment?: number
}

/** The bytes of a file. */
export function ggufBytes(input: GgufInput): Bytes {
  const { magic = "GGUF", version = 3, entries = [], tensors = [], alignment = 32 } = input
  const infos: Bytes[] = []
  const data: Bytes[] = []
  let offset = 0
  for (const tensor of tensors) {
    const dimensions = tensor.dimensions.map(u64)
    const place = u64(tensor.offset ?? BigInt(offset))
    infos.push(join(text(tensor.name), u32(dimensions.length), ...dimensions, u32(tensor.type), place))
    const padded = new Uint8Array(Math.ceil(tensor.bytes.length / alignment) * alignment)
    padded.set(tensor.bytes)
    data.push(padded)
    offset += padded.length
  }
  const counts = [u64(input.tensorCount ?? tensors.length), u64(input.entryCount ?? entries.length)]
  const header = join(new TextEncoder().encode(magic), u32(version), ...counts, ...entries, ...infos)
  const padding = new Uint8Array(-header.length & (alignment - 1))
  return join(header, padding, ...data)
}
