/** The header of safetensors: round trips, truncations and mutations of valid files, sizes at the limit. */
import { describe, expect, test } from "bun:test"
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs"
import type { ContainerFile, SourceFile } from "../../src/containers/container.ts"
import { DTYPE_BITS, type SafetensorsDtype, tensorBytes } from "../../src/containers/dtype.ts"
import {
  encodeHeader,
  HEADER_SIZE_MAX,
  type HeaderTensor,
  headerSize,
  openSafetensors,
  parseHeader,
} from "../../src/containers/safetensors.ts"
import { DequantizerError, RefusedError } from "../../src/errors.ts"
import { randomWords, temporaryFolder } from "../support/checkpoints.ts"

const DTYPES = Object.keys(DTYPE_BITS) as SafetensorsDtype[]
const NAME_PIECES = [
  "model",
  ".",
  "weight",
  "__proto__",
  "日本",
  "😀",
  '"',
  "\\",
  "\n",
  "\0",
  "/",
  "..",
  " ",
  "é",
  "\u2028",
]

function sourceFile(size: number): SourceFile {
  return { path: "x.safetensors", name: "x.safetensors", size, device: 1n, inode: 2n, mtimeNs: 3n }
}

/** A whole file held in memory, read as the opener reads one on disk. */
function parseBytes(bytes: Uint8Array, size = bytes.length): ContainerFile {
  const file = sourceFile(size)
  const length = headerSize(bytes.subarray(0, Math.min(8, size)), file)
  return parseHeader(bytes.subarray(8, 8 + length), file)
}

function randomTensors(next: () => number): HeaderTensor[] {
  const names = new Set(
    Array.from({ length: next() % 12 }, () =>
      Array.from({ length: next() % 5 }, () => NAME_PIECES[next() % NAME_PIECES.length]).join(""),
    ),
  )
  return [...names].map((name) => {
    for (;;) {
      const dtype = DTYPES[next() % DTYPES.length]!
      const shape = Array.from({ length: next() % 5 }, () => next() % 9)
      if (tensorBytes(dtype, shape) !== undefined) return { name, dtype, shape }
    }
  })
}

function bytesOf(tensors: readonly HeaderTensor[]): number {
  return tensors.reduce((sum, { dtype, shape }) => sum + tensorBytes(dtype, shape)!, 0)
}

function wholeFile(tensors: readonly HeaderTensor[], metadata: ReadonlyMap<string, string>): Uint8Array {
  const head = encodeHeader(tensors, metadata, "out")
  const bytes = new Uint8Array(head.length + bytesOf(tensors))
  bytes.set(head)
  return bytes
}

describe("encodeHeader", () => {
  test("what it writes is read back, in order, without holes, with data at a multiple of 8", () => {
    const seed = Date.now() >>> 0
    const next = randomWords(seed)
    for (let round = 0; round < 2000; round += 1) {
      const tensors = randomTensors(next)
      const metadata = new Map(
        next() % 2 === 0
          ? []
          : [
              ["format", "pt"],
              ["é\n", '"\\'],
            ],
      )
      const bytes = wholeFile(tensors, metadata)
      const { tensors: found, metadata: foundMetadata, headerSize: dataStart } = parseBytes(bytes)
      expect(dataStart % 8).toBe(0)
      let offset = dataStart
      const expected = new Map<string, unknown>()
      for (const { name, dtype, shape } of tensors) {
        const size = tensorBytes(dtype, shape)!
        expected.set(name, { dtype, shape, offset, size })
        offset += size
      }
      const read = new Map<string, unknown>(
        found.map(({ name, dtype, shape, offset, size }) => [name, { dtype, shape, offset, size }]),
      )
      expect({ seed, read }).toEqual({ seed, read: expected })
      expect(new Map(foundMetadata)).toEqual(metadata)
    }
  })

  test("a dimension of 2^63 is written digit by digit", () => {
    const head = encodeHeader([{ name: "a", dtype: "F32", shape: [2 ** 63, 0] }], new Map(), "out")
    expect(new TextDecoder().decode(head.subarray(8))).toContain("[9223372036854775808,0]")
    expect(parseBytes(head).tensors[0]?.shape).toEqual([2 ** 63, 0])
  })

  test("a header past the limit of readers is refused", () => {
    const name = "x".repeat(50_000_000)
    const tensors = ["a", "b"].map((end): HeaderTensor => ({ name: name + end, dtype: "U8", shape: [1] }))
    expect(() => encodeHeader(tensors, new Map(), "out.safetensors")).toThrow(RefusedError)
  })
})

/**
 * A file with one of everything: metadata, plain entries, fields in another order, extra fields, escapes, empty
 * tensors.
 */
function variedFile(): Uint8Array {
  const header = `{"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},
    "b": {"dtype": "U8", "shape": [2, 2], "data_offsets": [12, 16]}, "\\u0063":{"shape":[],"x":[1,{"y":null}],
    "data_offsets":[16,20],"dtype":"F32"},"d":{"dtype":"F4","shape":[0,8],"data_offsets":[20,20]}} `
  const text = new TextEncoder().encode(header)
  const bytes = new Uint8Array(8 + text.length + 20)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true)
  bytes.set(text, 8)
  return bytes
}

describe("damage", () => {
  test("a file cut at any byte is refused", () => {
    const bytes = variedFile()
    expect(parseBytes(bytes).tensors).toHaveLength(4)
    for (let size = 0; size < bytes.length; size += 1) {
      expect(() => parseBytes(bytes.subarray(0, size))).toThrow(DequantizerError)
    }
  })

  test("any byte changed to any value is read or refused, never a crash", () => {
    const original = variedFile()
    const dataStart = original.length - 20
    let refused = 0
    for (let position = 0; position < dataStart; position += 1) {
      for (let value = 0; value < 256; value += 1) {
        const bytes = original.slice()
        bytes[position] = value
        try {
          const { tensors } = parseBytes(bytes)
          // What is accepted fills the data section, whatever the change.
          expect(tensors.reduce((sum, tensor) => sum + tensor.size, 0)).toBe(20)
        } catch (fault) {
          if (!(fault instanceof DequantizerError)) throw fault
          refused += 1
        }
      }
    }
    expect(refused).toBeGreaterThan((dataStart * 256) / 2)
  }, 30_000)

  test("random spans deleted, doubled and overwritten are read or refused", () => {
    const seed = Date.now() >>> 0
    const next = randomWords(seed)
    const original = variedFile()
    for (let round = 0; round < 20_000; round += 1) {
      const begin = next() % original.length
      const end = Math.min(original.length, begin + 1 + (next() % 8))
      const span = original.subarray(begin, end)
      const middle = [[], [...span, ...span], [...span].map(() => next() & 0xff)][next() % 3]!
      const bytes = new Uint8Array([...original.subarray(0, begin), ...middle, ...original.subarray(end)])
      try {
        parseBytes(bytes)
      } catch (fault) {
        if (!(fault instanceof DequantizerError)) throw new Error(`seed ${seed}, round ${round}`, { cause: fault })
      }
    }
  }, 30_000)
})

describe("size", () => {
  test("a header near the limit is read within seconds", () => {
    const tensors = Array.from(
      { length: 940_000 },
      (_, i): HeaderTensor => ({
        name: `model.layers.${i}.mlp.experts.${i % 128}.down_proj.weight`,
        dtype: "U8",
        shape: [0, 2],
      }),
    )
    const head = encodeHeader(tensors, new Map(), "out")
    expect(head.length).toBeGreaterThan(90_000_000)
    expect(head.length).toBeLessThanOrEqual(HEADER_SIZE_MAX)
    expect(parseBytes(head).tensors).toHaveLength(tensors.length)
  }, 60_000)

  test("only the header of a large file is read", async () => {
    using folder = temporaryFolder()
    const path = folder.file("large.safetensors")
    const size = 2 ** 40
    const head = encodeHeader([{ name: "a", dtype: "U8", shape: [size] }], new Map(), "out")
    const file = openSync(path, "w")
    writeSync(file, head)
    ftruncateSync(file, head.length + size)
    closeSync(file)
    const { tensors, file: source } = await openSafetensors(path)
    expect(tensors[0]).toMatchObject({ name: "a", offset: head.length, size })
    expect(source).toMatchObject({ path, name: "large.safetensors", size: head.length + size })
  })
})
