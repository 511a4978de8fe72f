/**
 * Small checkpoints for tests, written byte by byte and without any code of the program, so that a fault of the
 * program's own reader or writer cannot hide itself. Shapes count elements; all values are little-endian.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"

export interface TensorInput {
  readonly name: string
  /** safetensors dtype name. */
  readonly dtype: string
  readonly shape: readonly number[]
  readonly bytes: Uint8Array
}

/** A folder that is removed at the end of the `using` scope. */
export interface TemporaryFolder extends Disposable {
  readonly path: string
  /** Path of a file in it. */
  file(...names: string[]): string
}

/** A fresh folder under the system's temporary folder. */
export function temporaryFolder(prefix = "dequantizer-test-"): TemporaryFolder {
  const path = mkdtempSync(join(tmpdir(), prefix))
  return {
    path,
    file: (...names) => join(path, ...names),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  }
}

/** Numbers in [0, 2^32) that depend on the seed alone (mulberry32). */
export function randomWords(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}

export function randomBytes(count: number, seed: number): Uint8Array {
  const next = randomWords(seed)
  return Uint8Array.from({ length: count }, () => next() >>> 24)
}

/** E8M0 scales near 2^0, as trained weights have them: 112…127. */
export function moderateScales(count: number, seed: number): Uint8Array {
  const next = randomWords(seed)
  return Uint8Array.from({ length: count }, () => 112 + (next() >>> 28))
}

/** Finite BF16 values of ordinary size, two bytes each. */
export function bf16Bytes(count: number, seed: number): Uint8Array {
  const next = randomWords(seed)
  const words = Uint16Array.from({ length: count }, () => (next() & 0x80ff) | ((110 + (next() % 20)) << 7))
  return new Uint8Array(words.buffer)
}

/** Finite F32 values of ordinary size with full mantissas, so that a cast has to round. */
export function f32Bytes(count: number, seed: number): Uint8Array {
  const next = randomWords(seed)
  const words = Uint32Array.from({ length: count }, () => (next() & 0x807fffff) | ((110 + (next() % 20)) << 23))
  return new Uint8Array(words.buffer)
}

/** Finite F16 values: every sign and mantissa, exponents 1…24. */
export function f16Bytes(count: number, seed: number): Uint8Array {
  const next = randomWords(seed)
  const words = Uint16Array.from({ length: count }, () => (next() & 0x83ff) | ((1 + (next() % 24)) << 10))
  return new Uint8Array(words.buffer)
}

/** A tensor with random content of its dtype. */
export function tensor(name: string, dtype: string, shape: readonly number[], seed: number): TensorInput {
  const count = shape.reduce((product, dimension) => product * dimension, 1)
  return { name, dtype, shape, bytes: contentOf(dtype, count, seed) }
}

function contentOf(dtype: string, count: number, seed: number): Uint8Array {
  if (dtype === "BF16") return bf16Bytes(count, seed)
  if (dtype === "F16") return f16Bytes(count, seed)
  if (dtype === "F32") return f32Bytes(count, seed)
  if (dtype === "F64" || dtype === "I64" || dtype === "U64") return randomBytes(count * 8, seed)
  if (dtype === "I32" || dtype === "U32") return randomBytes(count * 4, seed)
  if (dtype === "BOOL") return randomBytes(count, seed).map((byte) => byte & 1)
  return randomBytes(count, seed)
}

/** The bytes of a safetensors file: tensors in the given order, no holes, header padded with spaces to 8 bytes. */
export function safetensorsBytes(
  tensors: readonly TensorInput[],
  metadata: Readonly<Record<string, string>> | undefined = { format: "pt" },
): Uint8Array {
  const entries: string[] = metadata === undefined ? [] : [`"__metadata__":${JSON.stringify(metadata)}`]
  let position = 0
  for (const { name, dtype, shape, bytes } of tensors) {
    const end = position + bytes.length
    entries.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [position, end] })}`)
    position = end
  }
  const text = new TextEncoder().encode(`{${entries.join(",")}}`)
  const headerSize = Math.ceil(text.length / 8) * 8
  const file = new Uint8Array(8 + headerSize + position).fill(0x20, 8, 8 + headerSize)
  new DataView(file.buffer).setBigUint64(0, BigInt(headerSize), true)
  file.set(text, 8)
  let offset = 8 + headerSize
  for (const { bytes } of tensors) {
    file.set(bytes, offset)
    offset += bytes.length
  }
  return file
}

export function writeSafetensors(
  path: string,
  tensors: readonly TensorInput[],
  metadata: Readonly<Record<string, string>> | undefined = { format: "pt" },
): void {
  writeFileSync(path, safetensorsBytes(tensors, metadata))
}

export interface FolderInput {
  /** Shard name → its tensors. */
  readonly shards: Readonly<Record<string, readonly TensorInput[]>>
  /** Writes model.safetensors.index.json; its metadata, total_size aside. */
  readonly index?: Readonly<Record<string, unknown>>
  /** Text of config.json, or an object that is written with an indentation of two. */
  readonly config?: unknown
  /** Other files: name (with `/`) → content. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>
}

/** Writes a folder as save_pretrained leaves it. */
export function writeCheckpointFolder(folder: string, input: FolderInput): void {
  mkdirSync(folder, { recursive: true })
  for (const [name, tensors] of Object.entries(input.shards)) writeSafetensors(join(folder, name), tensors)
  if (input.index !== undefined) {
    const all = Object.entries(input.shards).flatMap(([shard, tensors]) => tensors.map((t) => ({ shard, t })))
    const totalSize = all.reduce((sum, { t }) => sum + t.bytes.length, 0)
    const index = {
      metadata: { ...input.index, total_size: totalSize },
      weight_map: Object.fromEntries(all.map(({ shard, t }) => [t.name, shard])),
    }
    writeFileSync(join(folder, "model.safetensors.index.json"), `${JSON.stringify(index, null, 2)}\n`)
  }
  if (input.config !== undefined) {
    const text = typeof input.config === "string" ? input.config : `${JSON.stringify(input.config, null, 2)}\n`
    writeFileSync(join(folder, "config.json"), text)
  }
  for (const [name, content] of Object.entries(input.files ?? {})) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), content)
  }
}
