/**
 * Parsers of headers and settings under mutations of valid files: bytes, numbers, pieces taken out, put in, doubled or
 * swapped with another file's, and ends cut off. Whatever comes must be read, or refused with an error of the program in
 * one line; what is read must lie within the file.
 */
import { findDeclared } from "../../src/checkpoint/declared.ts"
import { parseIndex } from "../../src/checkpoint/index-file.ts"
import type { ContainerFile, SourceFile } from "../../src/containers/container.ts"
import { tensorBytes } from "../../src/containers/dtype.ts"
import type { ByteReader } from "../../src/containers/file.ts"
import { parseGguf } from "../../src/containers/gguf.ts"
import { parseJsonObject } from "../../src/containers/json.ts"
import { headerSize, parseHeader } from "../../src/containers/safetensors.ts"
import { DequantizerError } from "../../src/errors.ts"
import { entry, fileBytes, oddFiles } from "../support/broken-files.ts"
import {
  arrayEntry,
  ggufBytes,
  entry as ggufEntry,
  stringEntry,
  text,
  u8,
  u32Entry,
  VALUE,
} from "../support/gguf-file.ts"
import { compressedTensorsConfig, gptOssConfig } from "../support/models.ts"

type Random = () => number

interface Target {
  readonly name: string
  readonly seeds: readonly Uint8Array[]
  /** Parses; throws what is wrong, and Error where something is accepted that must not be. */
  readonly parse: (bytes: Uint8Array) => void | Promise<void>
}

const utf8 = (value: string) => new TextEncoder().encode(value)
const json = (value: unknown) => utf8(JSON.stringify(value))

function fileOf(size: number): SourceFile {
  return { path: "fuzz", name: "fuzz", size, device: 0n, inode: 0n, mtimeNs: 0n }
}

/** Tensors lie in the file behind the header, and are as large as dtype and shape say. */
function requireSound({ file, tensors, headerSize: start }: ContainerFile): void {
  for (const { name, dtype, shape, offset, size } of tensors) {
    if (offset < start || offset + size > file.size) throw new Error(`tensor ${name} leaves the file`)
    if (tensorBytes(dtype, shape) !== size) throw new Error(`tensor ${name} is not of its size`)
  }
}

const targets: readonly Target[] = [
  {
    name: "safetensors",
    seeds: [
      ...Object.values(oddFiles).map((bytes) => bytes()),
      fileBytes(
        `{"__metadata__":{"format":"pt"},${entry("a.b", "BF16", "[2,3]", 0, 12)},${entry("c", "F32", "[1]", 12, 16)}}`,
        16,
      ),
    ],
    parse: (bytes) => {
      const file = fileOf(bytes.length)
      const size = headerSize(bytes.subarray(0, 8), file)
      requireSound(parseHeader(bytes.subarray(8, 8 + size), file))
    },
  },
  {
    name: "gguf",
    seeds: [
      ggufBytes({
        entries: [
          stringEntry("general.architecture", "llama"),
          u32Entry("general.alignment", 32),
          arrayEntry("tokenizer.ggml.tokens", VALUE.string, [text("a"), text("bc")]),
          ggufEntry("k", VALUE.bool, u8(1)),
        ],
        tensors: [
          { name: "a", type: 0, dimensions: [8, 2], bytes: new Uint8Array(64) },
          { name: "b", type: 8, dimensions: [32], bytes: new Uint8Array(34) },
        ],
      }),
      ggufBytes({ version: 2, tensors: [{ name: "q", type: 12, dimensions: [256, 2], bytes: new Uint8Array(288) }] }),
    ],
    parse: async (bytes) => {
      const reader: ByteReader = {
        read: async (target, offset, length, position) => {
          const part = bytes.subarray(position, position + length)
          target.set(part, offset)
          return { bytesRead: part.length }
        },
      }
      requireSound(await parseGguf(reader, fileOf(bytes.length)))
    },
  },
  {
    name: "index",
    seeds: [
      json({ metadata: { total_size: 16 }, weight_map: { a: "x-1.safetensors", b: "x-2.safetensors" } }),
      json({ weight_map: { "": "model.safetensors" } }),
    ],
    parse: (bytes) => {
      for (const shard of new Set(parseIndex(bytes, "fuzz").shardNames)) {
        if (/[/\\\0]|^\.\./.test(shard)) throw new Error(`shard ${shard} is a path`)
      }
    },
  },
  {
    name: "config",
    seeds: [
      json(gptOssConfig()),
      json(compressedTensorsConfig()),
      json({ quantization_config: { quant_method: "fp8", weight_block_size: [128, 128] }, x: [1e-5, null, true] }),
      json({ quantization: { group_size: 64, bits: 4 } }),
    ],
    parse: (bytes) => {
      const content = parseJsonObject(bytes, "fuzz", { pythonConstants: true })
      findDeclared({ path: "fuzz", name: "config.json", content }, [])
    },
  },
]

/** What hostile numbers and texts look like. */
const DICTIONARY = [
  "0", "-1", "1.0", "1e3", "4294967296", "9007199254740993", "18446744073709551616", `1${"0".repeat(400)}`,
  '"', "\\", "{", "}", "[", "]", ",", ":", "null", "true", '"__proto__"', '"constructor"', '"dtype"', '"shape"',
  '"data_offsets"', '"__metadata__"', '"weight_map"', '"quantization_config"', "\\ud800", "\\u0000", "../", "/etc/passwd",
  "\u202e", "\u0000", "GGUF", "[[[[[[[[", '{"a":{"a":{"a":',
].map(utf8) // biome-ignore format: a list

const WORDS = [0n, 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n]

function mutate(seed: Uint8Array, other: Uint8Array, next: Random): Uint8Array {
  let bytes: Uint8Array = Uint8Array.from(seed)
  for (let i = next() % 3; i >= 0; i -= 1) bytes = step(bytes, other, next)
  return bytes
}

function step(bytes: Uint8Array, other: Uint8Array, next: Random): Uint8Array {
  const at = bytes.length === 0 ? 0 : next() % bytes.length
  const size = 1 + (next() % 16)
  switch (next() % 8) {
    case 0:
      return bytes.subarray(0, at)
    case 1:
      return splice(bytes, at, size, new Uint8Array())
    case 2:
      return splice(bytes, at, 0, bytes.subarray(at, at + size))
    case 3:
      return splice(bytes, at, next() % 2 === 0 ? 0 : size, DICTIONARY[next() % DICTIONARY.length]!)
    case 4: {
      const from = other.length === 0 ? 0 : next() % other.length
      return splice(bytes, at, size, other.subarray(from, from + size))
    }
    case 5:
      if (at + 8 <= bytes.length) viewOf(bytes).setBigUint64(at, WORDS[next() % WORDS.length]!, true)
      return bytes
    case 6:
      if (bytes.length > 0) bytes[at] = next()
      return bytes
    default:
      if (bytes.length > 0) bytes[at]! ^= 1 << (next() % 8)
      return bytes
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function splice(bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array {
  const end = Math.min(bytes.length, at + remove)
  const result = new Uint8Array(at + insert.length + bytes.length - end)
  result.set(bytes.subarray(0, at))
  result.set(insert, at)
  result.set(bytes.subarray(end), at + insert.length)
  return result
}

/** A safetensors file whose length word fits its text again, so that faults behind it are met. */
function mended(bytes: Uint8Array, difference: number): Uint8Array {
  if (bytes.length < 8) return bytes
  const length = Number(viewOf(bytes).getBigUint64(0, true)) + difference
  if (Number.isSafeInteger(length) && length >= 0) viewOf(bytes).setBigUint64(0, BigInt(length), true)
  return bytes
}

export interface ParserCounts {
  executions: number
  accepted: number
}

/** Longest that one small input may take, in milliseconds: far above a pause of the collector. */
const PATIENCE_MS = 2000

async function execute(target: Target, bytes: Uint8Array, counts: ParserCounts): Promise<void> {
  counts.executions += 1
  const started = performance.now()
  try {
    const result = target.parse(bytes)
    if (result !== undefined) await result
    counts.accepted += 1
  } catch (error) {
    const isOurs = error instanceof DequantizerError
    if (!isOurs || /[\u0000-\u001f\u007f-\u009f]/.test(error.message) || error.message.length > 1000) {
      throw new Error(`${target.name}: ${Buffer.from(bytes).toString("base64")}`, { cause: error })
    }
  }
  if (performance.now() - started > PATIENCE_MS) {
    throw new Error(`${target.name}: slow: ${Buffer.from(bytes).toString("base64")}`)
  }
}

/** Every valid file cut off at each byte, then `count` mutations. Throws with the input where one is not as it must be. */
export async function fuzzParsers(count: number, next: Random): Promise<ParserCounts> {
  const counts: ParserCounts = { executions: 0, accepted: 0 }
  for (const target of targets) {
    for (const seed of target.seeds) {
      for (let size = 0; size <= seed.length; size += 1) await execute(target, seed.subarray(0, size), counts)
    }
  }
  for (let i = 0; i < count; i += 1) {
    const target = targets[i % targets.length]!
    const seed = target.seeds[next() % target.seeds.length]!
    const bytes = mutate(seed, target.seeds[next() % target.seeds.length]!, next)
    const mend = target.name === "safetensors" && next() % 4 !== 0
    await execute(target, mend ? mended(bytes, bytes.length - seed.length) : bytes, counts)
  }
  return counts
}
