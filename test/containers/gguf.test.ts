/** GGUF headers: values of every type, headers of any size, sets of files. */
import { describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { openGguf } from "../../src/containers/gguf.ts"
import { ggufCount, ggufNumber, ggufNumbers, ggufText, metadataJson } from "../../src/containers/gguf-metadata.ts"
import { brokenGguf, ggufPart } from "../support/broken-gguf.ts"
import { expectFault } from "../support/broken-run.ts"
import { temporaryFolder } from "../support/checkpoints.ts"
import {
  arrayEntry,
  type Bytes,
  entry,
  f32,
  type GgufInput,
  ggufBytes,
  join,
  stringEntry,
  text,
  u8,
  u32,
  u32Entry,
  u64,
  VALUE,
} from "../support/gguf-file.ts"

async function open(input: GgufInput | Bytes) {
  using folder = temporaryFolder()
  const path = folder.file("x.gguf")
  writeFileSync(path, input instanceof Uint8Array ? input : ggufBytes(input))
  return await openGguf(path)
}

describe("broken", () => {
  for (const input of brokenGguf) test(input.name, () => expectFault(input), 5000)
})

test("every type of value, as numbers and as JSON", async () => {
  const double = new Uint8Array(Float64Array.of(-2.5).buffer)
  const { gguf } = await open({
    version: 2,
    entries: [
      entry("u8", VALUE.uint8, u8(200)),
      entry("i8", VALUE.int8, u8(200)),
      entry("u16", VALUE.uint16, u8(0, 255)),
      entry("i16", VALUE.int16, u8(0, 255)),
      u32Entry("u32", 0xffff_ffff),
      entry("i32", VALUE.int32, u32(0xffff_ffff)),
      entry("f32", VALUE.float32, f32(1e-6)),
      entry("nan", VALUE.float32, f32(Number.NaN)),
      entry("no", VALUE.bool, u8(0)),
      entry("yes", VALUE.bool, u8(1)),
      entry("u64", VALUE.uint64, u64(2n ** 64n - 1n)),
      entry("i64", VALUE.int64, u64(2n ** 64n - 1n)),
      entry("f64", VALUE.float64, double),
      stringEntry("s", 'a "€"\n'),
      arrayEntry("n", VALUE.int32, [u32(1), u32(0xffff_fffe)]),
      arrayEntry("t", VALUE.string, [text("a"), text(""), join(u64(2), u8(0x61, 0xff)), text("\ufffd")]),
      arrayEntry("empty", VALUE.string, []),
    ],
  })
  expect(ggufNumber(gguf, "i8")).toBe(-56)
  expect(ggufNumber(gguf, "i16")).toBe(-256)
  expect(ggufNumber(gguf, "u64")).toBeUndefined()
  expect(ggufNumber(gguf, "i64")).toBe(-1)
  expect(ggufNumber(gguf, "s")).toBeUndefined()
  expect(ggufText(gguf, "s")).toBe('a "€"\n')
  expect(ggufText(gguf, "u8")).toBeUndefined()
  expect(ggufNumbers(gguf, "n")).toEqual([1, -2])
  expect(ggufNumbers(gguf, "u8")).toEqual([200])
  expect(ggufNumbers(gguf, "t")).toBeUndefined()
  expect(ggufCount(gguf, "t")).toBe(4)
  const json = metadataJson(gguf)
  expect(json).toContain('"u64": {"type": "uint64", "value": 18446744073709551615}')
  const { format, version, metadata } = JSON.parse(json)
  expect([format, version]).toEqual(["gguf", 2])
  const values = Object.entries<{ value: unknown }>(metadata).map(([key, { value }]) => [key, value])
  expect(Object.fromEntries(values)).toEqual({
    u8: 200,
    i8: -56,
    u16: 65280,
    i16: -256,
    u32: 0xffff_ffff,
    i32: -1,
    f32: 1e-6,
    nan: "NaN",
    no: false,
    yes: true,
    u64: Number(2n ** 64n - 1n),
    i64: -1,
    f64: -2.5,
    s: 'a "€"\n',
    n: [1, -2],
    t: ["a", "", { hex: "61ff" }, "\ufffd"],
    empty: [],
  })
  expect(metadata.t.type).toBe("array of string")
})

test("tensors: dimensions turned round, offsets from the start of the file, alignment of the file's own", async () => {
  const { tensors, headerSize, gguf } = await open({
    entries: [u32Entry("general.alignment", 128)],
    alignment: 128,
    tensors: [
      { name: "q", type: 12, dimensions: [512, 3], bytes: new Uint8Array(2 * 3 * 144) },
      { name: "scalar", type: 1, dimensions: [], bytes: new Uint8Array(2) },
      { name: "experts", type: 30, dimensions: [4, 3, 2], bytes: new Uint8Array(48) },
    ],
  })
  expect(gguf.alignment).toBe(128)
  expect(headerSize % 128).toBe(0)
  expect(
    tensors.map(({ name, dtype, shape, size, offset }) => [name, dtype, shape, size, offset - headerSize]),
  ).toEqual([
    ["q", "Q4_K", [3, 512], 864, 0],
    ["scalar", "F16", [], 2, 896],
    ["experts", "BF16", [2, 3, 4], 48, 1024],
  ])
})

test("a hole between tensors and bytes behind them are padding", async () => {
  const { tensors } = await open(
    join(
      ggufBytes({
        tensors: [
          { name: "a", type: 0, dimensions: [1], bytes: new Uint8Array(4) },
          { name: "b", type: 0, dimensions: [1], bytes: new Uint8Array(200), offset: 96n },
        ],
      }),
      new Uint8Array(77),
    ),
  )
  expect(tensors.map(({ name }) => name)).toEqual(["a", "b"])
})

test("a header of megabytes is read in linear time, and short of its end it is cut off", async () => {
  // A vocabulary of 200,000 words, as large models have it.
  const words = Array.from({ length: 200_000 }, (_, i) => text(`word${i}`))
  const bytes = ggufBytes({
    entries: [arrayEntry("tokenizer.ggml.tokens", VALUE.string, words), u32Entry("after", 7)],
    tensors: [{ name: "a", type: 0, dimensions: [8], bytes: new Uint8Array(32) }],
  })
  const { gguf, tensors } = await open(bytes)
  expect(ggufCount(gguf, "tokenizer.ggml.tokens")).toBe(200_000)
  expect(ggufNumber(gguf, "after")).toBe(7)
  expect(tensors).toHaveLength(1)
  const { metadata } = JSON.parse(metadataJson(gguf))
  expect(metadata["tokenizer.ggml.tokens"].value.at(-1)).toBe("word199999")
  await expect(open(bytes.subarray(0, 1_000_000))).rejects.toThrow(/more than the file has room for/)
})

describe("sets", () => {
  const write = (folder: ReturnType<typeof temporaryFolder>, count: number) => {
    for (let i = 0; i < count; i += 1) {
      const name = `m-${String(i + 1).padStart(5, "0")}-of-${String(count).padStart(5, "0")}.gguf`
      writeFileSync(folder.file(name), ggufPart(i, count))
    }
  }

  test.each(["m-00001-of-00003.gguf", "m-00003-of-00003.gguf", ""])("opened by %p", async (name) => {
    using folder = temporaryFolder()
    write(folder, 3)
    const checkpoint = await openCheckpoint(folder.file(name))
    expect([...checkpoint.tensors.keys()]).toEqual(["t0", "t1", "t2"])
    expect(checkpoint.shards.map(({ file }) => file.name)).toEqual([
      "m-00001-of-00003.gguf",
      "m-00002-of-00003.gguf",
      "m-00003-of-00003.gguf",
    ])
    // The metadata of the model is in the first part, whichever was named.
    expect(ggufText(checkpoint.gguf!, "general.architecture")).toBe("test")
  })

  test("a set of one is a file", async () => {
    using folder = temporaryFolder()
    write(folder, 1)
    expect((await openCheckpoint(folder.path)).tensors.size).toBe(1)
  })
})
