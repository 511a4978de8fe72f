/** GGUF files that break the format, and split sets that are not whole. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join as joinPath } from "node:path"
import type { BrokenInput } from "./broken.ts"
import {
  arrayEntry,
  type Bytes,
  entry,
  type GgufInput,
  type GgufTensor,
  ggufBytes,
  join,
  stringEntry,
  text,
  u8,
  u32,
  u32Entry,
  u64,
  VALUE,
} from "./gguf-file.ts"

const F32 = 0
const Q8_0 = 8
const Q4_K = 12

function gguf(
  name: string,
  says: RegExp,
  input: GgufInput | (() => Bytes),
  exitCode: BrokenInput["exitCode"] = 3,
): BrokenInput {
  return {
    name: `GGUF: ${name}`,
    says,
    exitCode,
    build: (folder) => {
      const path = joinPath(folder, "model.gguf")
      writeFileSync(path, typeof input === "function" ? input() : ggufBytes(input))
      return path
    },
  }
}

/** A file with the one tensor "a", F32 [8], whose fields can be replaced. */
function one(fields: Partial<GgufTensor>): GgufInput {
  return { tensors: [{ name: "a", type: F32, dimensions: [8], bytes: new Uint8Array(32), ...fields }] }
}

/** A file whose only metadata entry is given. */
function meta(...entries: readonly Bytes[]): GgufInput {
  return { entries }
}

const alignment = (value: Bytes, type: number = VALUE.uint32) => meta(entry("general.alignment", type, value))

const starts: readonly BrokenInput[] = [
  gguf("version 0", /unknown GGUF version \(expected 2 or 3, found 0\)/, { version: 0 }),
  gguf("version 1", /version 1 is not supported/, { version: 1 }, 4),
  gguf("version 99", /unknown GGUF version .*found 99/, { version: 99 }),
  gguf("big-endian", /big-endian GGUF is not supported/, { version: 0x03000000 }, 4),
  gguf("2^63 tensors", /number of tensors is more than the file has room for .*9223372036854775808/, {
    tensorCount: 1n << 63n,
  }),
  gguf("2^63 metadata entries", /number of metadata entries is more than the file has room for/, {
    entryCount: 1n << 63n,
  }),
  gguf("a tensor more than there are", /more than the file has room for|ends past the end/, { tensorCount: 1n }),
  gguf("cut off in the header", /length of metadata key is more than the file has room for .*at most 8, found 20/, () =>
    ggufBytes(meta(stringEntry("general.architecture", "llama"))).subarray(0, 40),
  ),
]

const values: readonly BrokenInput[] = [
  gguf(
    "key of 2^63 bytes",
    /length of metadata key is more than the file has room for/,
    meta(join(u64(1n << 63n), new Uint8Array(8))),
  ),
  gguf("key that is no UTF-8", /metadata key.*UTF-8/, meta(join(u64(1), u8(0xff), u32(VALUE.bool), u8(1)))),
  gguf(
    "string of 2^63 bytes",
    /length of metadata "k" is more than the file has room for/,
    meta(entry("k", VALUE.string, u64(1n << 63n))),
  ),
  gguf(
    "string past the end",
    /length of metadata "k" is more than the file has room for/,
    meta(entry("k", VALUE.string, u64(100))),
  ),
  gguf("type 9999", /metadata "k" has an unknown type .*9999/, meta(entry("k", 9999, u8(0)))),
  gguf("bool 7", /metadata "k" is no bool .*found 7/, meta(entry("k", VALUE.bool, u8(7)))),
  gguf(
    "array of 2^63 numbers",
    /length of metadata "k" is more than the file has room for/,
    meta(arrayEntry("k", VALUE.uint32, [], 1n << 63n)),
  ),
  gguf(
    "array of 2^63 strings",
    /length of metadata "k" is more than the file has room for/,
    meta(arrayEntry("k", VALUE.string, [], 1n << 63n)),
  ),
  gguf(
    "array whose last string is too long",
    /metadata "k" ends past the end/,
    meta(arrayEntry("k", VALUE.string, [text("a"), u64(1n << 62n)])),
  ),
  gguf(
    "3000 nested arrays",
    /array of arrays/,
    meta(entry("k", VALUE.array, join(...Array.from({ length: 3000 }, () => join(u32(VALUE.array), u64(1))), u32(0)))),
    4,
  ),
  gguf("array of an unknown type", /has an unknown type/, meta(arrayEntry("k", 13, [u8(0)]))),
  gguf("a key twice", /metadata "k" is there twice/, meta(u32Entry("k", 1), u32Entry("k", 1))),
]

const alignments: readonly BrokenInput[] = [
  gguf("alignment 0", /"general.alignment" is wrong/, alignment(u32(0))),
  gguf("alignment 3", /"general.alignment" is wrong .*power of two.*found uint32 3/, alignment(u32(3))),
  gguf("alignment 2^31", /"general.alignment" is wrong/, alignment(u32(2 ** 31))),
  gguf("alignment as text", /"general.alignment" is wrong .*found string/, alignment(text("32"), VALUE.string)),
]

const tensors: readonly BrokenInput[] = [
  gguf("type of nothing", /tensor "a": has the unknown ggml type 9999/, one({ type: 9999 }), 4),
  gguf("type given up", /tensor "a": has the ggml type Q4_2, which ggml has given up/, one({ type: 4 }), 4),
  gguf("type of activations", /Q8_1, which ggml has for activations only/, one({ type: 9 }), 4),
  gguf("5 dimensions", /too many dimensions .*found 5/, one({ dimensions: [1, 1, 1, 1, 1] })),
  gguf("2^32 - 1 dimensions", /too many dimensions/, () => {
    const bytes = ggufBytes(one({}))
    bytes.fill(0xff, 24 + 9, 24 + 13)
    return bytes
  }),
  gguf("dimension 0", /dimension 1 is out of range .*found 0/, one({ dimensions: [8, 0] })),
  gguf("dimension 2^63", /dimension 0 is out of range/, one({ dimensions: [1n << 63n] })),
  gguf("product that overflows", /does not give a size within range/, one({ dimensions: [2 ** 40, 2 ** 40] })),
  gguf("larger than the file", /tensor "a": ends past the end of the file/, one({ dimensions: [9] })),
  gguf(
    "row that is no run of blocks",
    /rows of whole 32-column blocks for Q8_0 \(found \[32, 33\]\)/,
    one({ type: Q8_0, dimensions: [33, 32], bytes: new Uint8Array(34 * 33) }),
  ),
  gguf(
    "row shorter than a block",
    /rows of whole 256-column blocks/,
    one({ type: Q4_K, dimensions: [32, 8], bytes: new Uint8Array(144) }),
  ),
  gguf("offset that is not aligned", /offset is not aligned .*found 4/, one({ offset: 4n })),
  gguf("offset past the end", /ends past the end of the file/, one({ offset: 32n })),
  gguf("offset 2^63", /ends past the end of the file/, one({ offset: 1n << 63n })),
  gguf("two tensors at one place", /tensor "b": overlaps tensor "a"/, {
    tensors: [
      { name: "a", type: F32, dimensions: [16], bytes: new Uint8Array(64) },
      { name: "b", type: F32, dimensions: [8], bytes: new Uint8Array(32), offset: 32n },
    ],
  }),
  gguf("two tensors of one name", /tensor "a": is there twice/, {
    tensors: [
      { name: "a", type: F32, dimensions: [8], bytes: new Uint8Array(32) },
      { name: "a", type: F32, dimensions: [8], bytes: new Uint8Array(32) },
    ],
  }),
  gguf("cut off in the data", /tensor "a": ends past the end of the file/, () => ggufBytes(one({})).subarray(0, -1)),
]

const u16Entry = (key: string, value: number) => entry(key, VALUE.uint16, u8(value & 255, value >> 8))

/** Part `number` (from 0) of a set, with one tensor. */
export function ggufPart(number: number, count: number, tensorCount = count): Bytes {
  const split = [
    u16Entry("split.no", number),
    u16Entry("split.count", count),
    entry("split.tensors.count", VALUE.int32, u32(tensorCount)),
  ]
  const entries = number === 0 ? [stringEntry("general.architecture", "test"), ...split] : split
  const bytes = new Uint8Array(32).fill(number)
  return ggufBytes({ entries, tensors: [{ name: `t${number}`, type: F32, dimensions: [8], bytes }] })
}

/** A set in a folder: names and contents; the named file is the first. */
function set(name: string, says: RegExp, parts: Readonly<Record<string, Bytes>>): BrokenInput {
  return {
    name: `GGUF set: ${name}`,
    says,
    exitCode: 3,
    build: (folder) => {
      mkdirSync(folder, { recursive: true })
      for (const [file, bytes] of Object.entries(parts)) writeFileSync(joinPath(folder, file), bytes)
      return joinPath(folder, Object.keys(parts)[0]!)
    },
  }
}

const sets: readonly BrokenInput[] = [
  set("a part is missing", /1 of 3 parts are missing .*m-00002-of-00003.gguf/, {
    "m-00001-of-00003.gguf": ggufPart(0, 3),
    "m-00003-of-00003.gguf": ggufPart(2, 3),
  }),
  set("a name that says nothing", /is part 1 of 2, and its name does not say so/, { "m.gguf": ggufPart(0, 2) }),
  set("a name of another count", /its name does not say so .*m-00001-of-00002.gguf/, {
    "m-00001-of-00003.gguf": ggufPart(0, 2),
  }),
  set("a part of another set", /is not part 2 of 2: split.count is wrong \(expected 2, found 3\)/, {
    "m-00001-of-00002.gguf": ggufPart(0, 2),
    "m-00002-of-00002.gguf": ggufPart(1, 3),
  }),
  set("a part twice", /is not part 2 of 2: split.no is wrong \(expected 1, found 0\)/, {
    "m-00001-of-00002.gguf": ggufPart(0, 2),
    "m-00002-of-00002.gguf": ggufPart(0, 2),
  }),
  set("tensors of another count", /split.tensors.count is not what the parts have \(expected 7, found 2\)/, {
    "m-00001-of-00002.gguf": ggufPart(0, 2, 7),
    "m-00002-of-00002.gguf": ggufPart(1, 2, 7),
  }),
  set("a part without metadata of a set", /its metadata has no split.count/, {
    "m-00002-of-00003.gguf": ggufBytes(one({})),
  }),
  set("split.no beyond the count", /split.no is wrong \(expected 0 to 1, found 5\)/, {
    "m-00001-of-00002.gguf": ggufPart(5, 2),
  }),
]

export const brokenGguf: readonly BrokenInput[] = [...starts, ...values, ...alignments, ...tensors, ...sets]
