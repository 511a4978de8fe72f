/**
 * Single files that break the safetensors format, or are no safetensors files at all; and odd files that are valid.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { BrokenInput } from "./broken.ts"

/** A file from its parts: length word (that of the header where absent), header, data. */
export function fileBytes(header: string | Uint8Array, dataSize = 0, length?: bigint): Uint8Array {
  const text = typeof header === "string" ? new TextEncoder().encode(header) : header
  const bytes = new Uint8Array(8 + text.length + dataSize)
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true)
  bytes.set(text, 8)
  return bytes
}

/** Text of one entry. */
export function entry(
  name: string,
  dtype: string,
  shape: string,
  begin: string | number,
  end: string | number,
): string {
  return `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":${shape},"data_offsets":[${begin},${end}]}`
}

/** A header of the given entries. */
function entries(...list: readonly string[]): string {
  return `{${list.join(",")}}`
}

/** A header with the one tensor "a", F32 [1], whose fields can be replaced. */
function one({ dtype = "F32", shape = "[1]", begin = "0", end = "4", extra = "" } = {}): string {
  return `{"a":{"dtype":"${dtype}","shape":${shape},"data_offsets":[${begin},${end}]${extra}}}`
}

function file(name: string, says: RegExp, bytes: () => Uint8Array, exitCode: BrokenInput["exitCode"] = 3): BrokenInput {
  return {
    name,
    says,
    exitCode,
    build: (folder) => {
      const path = join(folder, "model.safetensors")
      writeFileSync(path, bytes())
      return path
    },
  }
}

function header(name: string, says: RegExp, text: string | Uint8Array, dataSize = 4): BrokenInput {
  return file(name, says, () => fileBytes(text, dataSize))
}

const ascii = (text: string) => new TextEncoder().encode(text)
const raw = (...parts: (string | number[])[]) =>
  new Uint8Array(parts.flatMap((part) => (typeof part === "string" ? [...ascii(part)] : part)))

const frames: readonly BrokenInput[] = [
  file("empty file", /expected at least 8 bytes, found 0/, () => new Uint8Array(0)),
  file("7 bytes", /expected at least 8 bytes, found 7/, () => new Uint8Array(7)),
  file("header length 0", /not valid JSON/, () => fileBytes("")),
  file("header length 1", /not valid JSON/, () => fileBytes("{", 100, 1n)),
  file("header length 100,000,001", /header is too long.*100000001/, () => fileBytes("{}", 0, 100_000_001n)),
  file("header length 2^53 + 1", /header is too long.*9007199254740993/, () => fileBytes("{}", 0, 2n ** 53n + 1n)),
  file("header length 2^64 - 1", /header is too long.*18446744073709551615/, () => fileBytes("{}", 0, 2n ** 64n - 1n)),
  file("header past the end of the file", /ends past the end/, () => fileBytes("{}", 0, 3n)),
  file("header of the limit in a small file", /ends past the end/, () => fileBytes("{}", 0, 100_000_000n)),
]

const texts: readonly BrokenInput[] = [
  header("header is an array", /expected a header that starts with \{/, "[1]"),
  header("header is a string", /expected a header that starts with \{/, '"abc"'),
  header("byte order mark", /expected a header that starts with \{/, raw([0xef, 0xbb, 0xbf], one())),
  header("NUL behind the header", /expected the end/, `${one()}\0`),
  header("text behind the header", /expected the end/, `${one()}{}`),
  header("comma behind the last entry", /expected a key/, `{${entry("a", "F32", "[1]", 0, 4)},}`),
  header("stray byte", /not valid UTF-8/, raw('{"a', [0xff], '":1}')),
  header("overlong UTF-8", /not valid UTF-8/, raw('{"a', [0xc0, 0xaf], '":1}')),
  header("surrogate encoded in UTF-8", /not valid UTF-8/, raw('{"a', [0xed, 0xa0, 0x80], '":1}')),
  header("cut UTF-8 sequence", /not valid UTF-8/, raw('{"a":1}', [0xe2, 0x82])),
  header("lone surrogate as an escape", /lone surrogate/, `{"a\\ud800":1}`),
  header("surrogates in the wrong order", /lone surrogate/, `{"a\\udc00\\ud800":1}`),
  header("control character in a name", /control character/, '{"a\nb":1}'),
  header("unknown escape", /unknown escape/, '{"\\x41":1}'),
  header("100,000 open arrays", /nesting is deeper/, one({ extra: `,"x":${"[".repeat(100_000)}` })),
  header("100,000 open objects", /nesting is deeper/, `{"a":`.repeat(100_000)),
  header("nesting of 128", /nesting is deeper/, one({ extra: `,"x":${"[".repeat(126)}${"]".repeat(126)}` })),
]

const keys: readonly BrokenInput[] = [
  header(
    "a name twice, same range",
    /duplicate key "a"/,
    `{${entry("a", "F32", "[1]", 0, 4)},${entry("a", "F32", "[1]", 0, 4)}}`,
  ),
  header(
    "a name twice, other range",
    /duplicate key "a"/,
    `{${entry("a", "F32", "[1]", 0, 4)},${entry("a", "F32", "[1]", 4, 8)}}`,
    8,
  ),
  header("a name twice, once escaped", /duplicate key "a"/, `{${entry("a", "F32", "[1]", 0, 4)},"\\u0061":{}}`),
  header(
    "__proto__ twice",
    /duplicate key "__proto__"/,
    `{${entry("__proto__", "F32", "[1]", 0, 4)},${entry("__proto__", "F32", "[1]", 4, 8)}}`,
    8,
  ),
  header(
    "constructor twice",
    /duplicate key "constructor"/,
    `{${entry("constructor", "F32", "[1]", 0, 4)},"constructor":{}}`,
  ),
  header("dtype twice", /duplicate key "dtype"/, one({ extra: ',"dtype":"F32"' })),
  header("shape twice", /duplicate key "shape"/, one({ extra: ',"shape":[1]' })),
  header("data_offsets twice", /duplicate key "data_offsets"/, one({ extra: ',"data_offsets":[0,4]' })),
  header("unknown field twice", /duplicate key "x"/, one({ extra: ',"x":1,"x":1' })),
  header("unknown field with a key twice", /duplicate key "y"/, one({ extra: ',"x":{"y":1,"y":2}' })),
  header("__metadata__ twice", /duplicate key "__metadata__"/, '{"__metadata__":{},"__metadata__":{}}', 0),
  header("key twice in __metadata__", /duplicate key "k"/, '{"__metadata__":{"k":"1","k":"1"}}', 0),
  header("__metadata__ with a number", /expected a string as __metadata__ value/, '{"__metadata__":{"k":1}}', 0),
  header("nested __metadata__", /expected a string as __metadata__ value/, '{"__metadata__":{"k":{}}}', 0),
  header("__metadata__ is a string", /expected an object as __metadata__/, '{"__metadata__":"x"}', 0),
  header("tensor without shape", /tensor "a": has no shape/, '{"a":{"dtype":"F32","data_offsets":[0,4]}}'),
  header("tensor without dtype", /tensor "a": has no dtype/, '{"a":{"shape":[1],"data_offsets":[0,4]}}'),
  header("tensor without data_offsets", /tensor "a": has no data_offsets/, '{"a":{"dtype":"F32","shape":[1]}}'),
  header("tensor is null", /expected an object for tensor "a"/, '{"a":null}', 0),
  header("tensor is an array", /expected an object for tensor "a"/, '{"a":["F32",[1],[0,4]]}'),
]

const BIG = `1${"0".repeat(400)}`
const numbers: readonly BrokenInput[] = [
  header("dimension -1", /expected a non-negative integer/, one({ shape: "[-1]" })),
  header("dimension -0", /expected a non-negative integer/, one({ shape: "[-0]" })),
  header("dimension 1.0", /expected a non-negative integer/, one({ shape: "[1.0]" })),
  header("dimension 1e3", /expected a non-negative integer/, one({ shape: "[1e3]" })),
  header("dimension 01", /expected a non-negative integer/, one({ shape: "[01]" })),
  header("dimension is a string", /expected a non-negative integer/, one({ shape: '["1"]' })),
  header("dimension 2^53 + 1", /out of range/, one({ shape: `[${2n ** 53n + 1n}]` })),
  header("dimension 2^64", /out of range/, one({ shape: `[${2n ** 64n}]` })),
  header("dimension 2^64 of an empty tensor", /out of range/, one({ shape: `[${2n ** 64n},0]`, end: "0" }), 0),
  header("dimension 10^400", /out of range/, one({ shape: `[${BIG}]` })),
  header("offset -1", /expected a non-negative integer/, one({ begin: "-1" })),
  header("offset 4.0", /expected a non-negative integer/, one({ end: "4.0" })),
  header("offset 2^53 + 1", /out of range/, one({ end: String(2n ** 53n + 1n) })),
  header("offset 2^64", /out of range/, one({ end: String(2n ** 64n) })),
  header("offset 10^400", /out of range/, one({ end: BIG })),
  header("unknown field with 1e400", /out of range/, one({ extra: ',"x":1e400' })),
  header("three offsets", /data_offsets is not a range/, one({ end: "4,4" })),
  header("end before begin", /ends before it begins/, one({ begin: "4", end: "0" })),
]

const two = (begin: number, end: number) =>
  `{${entry("a", "U8", "[4]", 0, 4)},${entry("b", "U8", `[${end - begin}]`, begin, end)}}`
const layouts: readonly BrokenInput[] = [
  header("hole between tensors", /tensor "b": leaves a hole of 2 bytes/, two(6, 8), 8),
  header("hole at the start", /tensor "a": leaves a hole of 4 bytes/, `{${entry("a", "U8", "[4]", 4, 8)}}`, 8),
  header("overlap", /tensor "b": overlaps tensor "a"/, two(2, 6), 6),
  header("alias", /tensor "b": overlaps tensor "a"/, two(0, 4), 4),
  header("empty tensor inside another", /tensor "b": overlaps tensor "a"/, two(2, 2), 4),
  header("bytes behind the last tensor", /goes on after its last tensor/, one(), 5),
  header("bytes behind no tensor", /goes on after its last tensor/, "{}", 1),
  header("data cut off", /ends before its tensors do/, one(), 3),
  header(
    "offsets past the end of the file",
    /ends before its tensors do/,
    one({ shape: "[1000000000]", end: "4000000000" }),
  ),
  header("product of the shape overflows", /within range/, one({ shape: "[4294967296,4294967296]" })),
  header("product overflows before a zero", /within range/, one({ shape: "[9223372036854775808,2,0]", end: "0" }), 0),
  header("bits overflow", /within range/, one({ dtype: "F64", shape: "[9007199254740991]" })),
  header("shape and bytes differ", /expected 8 bytes, found 4/, one({ shape: "[2]" })),
  header("dtype and bytes differ", /expected 2 bytes, found 4/, one({ dtype: "BF16" })),
  header("unknown dtype", /unknown dtype.*found "F13"/, one({ dtype: "F13" })),
  header("dtype in lower case", /unknown dtype.*found "f32"/, one({ dtype: "f32" })),
  header("dtype called constructor", /unknown dtype/, one({ dtype: "constructor" })),
  header("F4 with an odd number of elements", /whole bytes/, one({ dtype: "F4", shape: "[3]", end: "2" }), 2),
  header("F6 that ends within a byte", /whole bytes/, one({ dtype: "F6_E2M3", shape: "[3]", end: "3" }), 3),
]

const magic = (name: string, says: RegExp, start: (string | number[])[], exitCode: 3 | 4 = 4) =>
  file(name, says, () => raw(...start, [...new Uint8Array(64)]), exitCode)

const others: readonly BrokenInput[] = [
  file(
    "GGUF magic",
    /number of tensors is more than the file has room for/,
    () => raw("GGUF", [3, 0, 0, 0], [...new Uint8Array(64).fill(255)]),
    3,
  ),
  magic("PyTorch ZIP", /PyTorch file/, ["PK", [3, 4, 0, 0, 8, 8]]),
  magic("pickle", /Python pickle/, [[0x80, 2, 0x8a, 10]]),
  magic("NumPy array", /NumPy array/, [[0x93], "NUMPY", [1, 0]]),
  magic("HDF5", /HDF5 file/, [[0x89], "HDF\r\n", [0x1a], "\n"]),
  magic("Git LFS pointer", /Git LFS pointer/, ["version https://git-lfs.github.com/spec/v1\n"], 3),
  magic("web page in the place of the file", /web page/, ["<!DOCTYPE html><html>"], 3),
  {
    name: "no such file",
    exitCode: 5,
    says: /no such file/,
    build: (folder) => join(folder, "absent.safetensors"),
  },
  {
    name: "pipe",
    exitCode: 3,
    says: /expected a regular file, found a pipe/,
    build: (folder) => {
      const path = join(folder, "model.safetensors")
      execFileSync("mkfifo", [path])
      return path
    },
  },
  {
    name: "device",
    exitCode: 3,
    says: /expected a regular file, found a device/,
    build: () => "/dev/zero",
  },
  {
    name: "folder called like a file",
    exitCode: 3,
    says: /holds no \.safetensors file/,
    build: (folder) => {
      const path = join(folder, "model.safetensors")
      mkdirSync(path)
      return path
    },
  },
  {
    name: "config.json in the place of the model",
    exitCode: 2,
    says: /holds no tensors/,
    build: (folder) => {
      const path = join(folder, "config.json")
      writeFileSync(path, "{}")
      return path
    },
  },
]

export const brokenFiles: readonly BrokenInput[] = [
  ...frames,
  ...texts,
  ...keys,
  ...numbers,
  ...layouts,
  ...others,
].map((input) => ({ ...input, name: `file: ${input.name}` }))

/** Valid files that look broken: name → bytes. The reference reader takes each of them. */
export const oddFiles: Readonly<Record<string, () => Uint8Array>> = {
  "no tensors": () => fileBytes("{}"),
  "leading spaces": () => fileBytes(`   \t\r\n${one()}`, 4),
  "trailing white space": () => fileBytes(`${one()} \t\r\n`, 4),
  "__metadata__ is null": () => fileBytes('{"__metadata__":null}'),
  "__metadata__ comes last": () => fileBytes(`{${entry("a", "F32", "[1]", 0, 4)},"__metadata__":{"format":"pt"}}`, 4),
  "header of odd length": () => fileBytes(`${one()} `, 4),
  scalar: () => fileBytes(one({ shape: "[]" }), 4),
  "zero-size tensor": () => fileBytes(one({ shape: "[3,0]", end: "0" })),
  "zero-size tensors at the start, between and at the end": () =>
    fileBytes(
      entries(
        entry("z", "U8", "[0]", 8, 8),
        entry("a", "U8", "[4]", 0, 4),
        entry("y", "U8", "[0]", 4, 4),
        entry("b", "U8", "[4]", 4, 8),
        entry("x", "U8", "[0]", 0, 0),
      ),
      8,
    ),
  "[2^63, 0]": () => fileBytes(one({ shape: "[9223372036854775808,0]", end: "0" })),
  "[0, 2^63, 2]": () => fileBytes(one({ shape: "[0,9223372036854775808,2]", end: "0" })),
  "rank 65": () => fileBytes(one({ shape: JSON.stringify(Array(65).fill(1)) }), 4),
  "unknown fields": () => fileBytes(one({ extra: ',"x":{"y":[1.5e3,-2,null,true]},"z":"w"' }), 4),
  "fields in another order": () => fileBytes('{"a":{"data_offsets":[0,4],"shape":[1],"dtype":"F32"}}', 4),
  "spaces as Python writes them": () =>
    fileBytes('{"a": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}}', 4),
  "nesting of 127": () => fileBytes(one({ extra: `,"x":${"[".repeat(125)}${"]".repeat(125)}` }), 4),
  "tensors in no order": () => fileBytes(`{${entry("b", "U8", "[4]", 4, 8)},${entry("a", "U8", "[4]", 0, 4)}}`, 8),
  "F32 at an odd offset": () => fileBytes(`{${entry("a", "U8", "[1]", 0, 1)},${entry("b", "F32", "[1]", 1, 5)}}`, 5),
  "F4, F6 and E8M0": () =>
    fileBytes(
      entries(
        entry("a", "F4", "[3,2]", 0, 3),
        entry("b", "F6_E2M3", "[4]", 3, 6),
        entry("c", "F6_E3M2", "[4]", 6, 9),
        entry("d", "F8_E8M0", "[1]", 9, 10),
      ),
      10,
    ),
  "name is empty": () => fileBytes(`{${entry("", "F32", "[1]", 0, 4)}}`, 4),
  "name is a path": () => fileBytes(`{${entry("../../etc/passwd", "F32", "[1]", 0, 4)}}`, 4),
  "name with NUL": () => fileBytes(`{${entry("a\0b", "F32", "[1]", 0, 4)}}`, 4),
  "name is __proto__": () =>
    fileBytes(`{${entry("__proto__", "F32", "[1]", 0, 4)},${entry("constructor", "U8", "[0]", 4, 4)}}`, 4),
  "name in escapes": () => fileBytes('{"\\ud83d\\ude00\\/\\b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4),
}
