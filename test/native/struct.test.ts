/** Every field of every struct keeps every value that its type has, and refuses the ones beyond. */
import { describe, expect, test } from "bun:test"
import * as abi from "../../src/native/abi.gen.ts"
import { enumName, packStruct, type StructDescriptor, safeNumber, unpackStruct } from "../../src/native/struct.ts"

const structs: Record<string, StructDescriptor> = {}
for (const [name, value] of Object.entries(abi)) {
  if (typeof value === "object" && "fields" in value) structs[name] = value
}

const GOOD: Record<string, readonly (number | bigint)[]> = {
  u8: [0, 1, 127, 128, 255],
  u32: [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff],
  i32: [-0x8000_0000, -1, 0, 1, 0x7fff_ffff],
  u64: [0n, 1n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n],
}

const BAD: Record<string, readonly (number | bigint)[]> = {
  u8: [-1, 256, 0.5, Number.NaN],
  u32: [-1, 2 ** 32, 1.5, Number.NaN, Number.POSITIVE_INFINITY],
  i32: [-0x8000_0001, 0x8000_0000, 0.1],
  u64: [-1, -1n, 2n ** 64n, 2 ** 53, 0.5, Number.NaN],
}

type Values = Record<string, unknown>

/** 0 in every field. */
function zeros(descriptor: StructDescriptor): Values {
  return unpackStruct(descriptor, new Uint8Array(descriptor.size)) as Values
}

function pack(descriptor: StructDescriptor, values: Values): Uint8Array {
  return packStruct(descriptor, values as never)
}

describe.each(Object.entries(structs))("%s", (_, descriptor) => {
  const fields = Object.entries(descriptor.fields).filter(([name]) => name !== "reserved")

  test.each(fields)("field %s", (name, field) => {
    const wrap = (value: unknown, index: number) =>
      "count" in field ? (zeros(descriptor)[name] as unknown[]).with(index, value) : value
    const places = "count" in field ? [0, field.count - 1] : [0]
    for (const place of places) {
      for (const good of GOOD[field.type] ?? []) {
        const values = { ...zeros(descriptor), [name]: wrap(good, place) }
        const bytes = pack(descriptor, values)
        Bun.gc(true)
        expect(unpackStruct(descriptor, bytes) as Values).toEqual(values)
      }
      for (const bad of BAD[field.type] ?? []) {
        expect(() => pack(descriptor, { ...zeros(descriptor), [name]: wrap(bad, place) })).toThrow(RangeError)
      }
    }
  })

  test("fields neither overlap nor leave gaps", () => {
    const owners = new Uint8Array(descriptor.size)
    const width = (type: string) => Number(/\d+$/.exec(type)?.[0] ?? 0) / 8 || structs[type]!.size
    for (const field of Object.values(descriptor.fields)) {
      const size = "count" in field ? field.count * field.stride : width(field.type)
      for (let i = 0; i < size; i++) owners[field.offset + i]!++
    }
    expect(owners.every((count) => count === 1)).toBe(true)
  })

  test("a field that is missing or too long is a fault", () => {
    for (const [name, field] of fields) {
      const { [name]: _missing, ...rest } = zeros(descriptor)
      expect(() => pack(descriptor, rest)).toThrow(`field ${name} is not given`)
      if (!("count" in field)) continue
      const long = [...(zeros(descriptor)[name] as unknown[]), 0]
      expect(() => pack(descriptor, { ...zeros(descriptor), [name]: long })).toThrow(`field ${name} holds`)
    }
  })
})

test("a u64 takes safe integers as numbers", () => {
  const progress = { bytes_done: 2 ** 53 - 1, bytes_total: 0, step: 0, running: 0, status: 0, files_done: 0 }
  const bytes = packStruct(abi.Progress, progress)
  expect(safeNumber(unpackStruct(abi.Progress, bytes).bytes_done)).toBe(2 ** 53 - 1)
  expect(() => safeNumber(2n ** 53n)).toThrow(RangeError)
})

test("enums are named, and unknown values refused", () => {
  expect(enumName(abi.Status, 8)).toBe("source_changed")
  expect(() => enumName(abi.Status, 99)).toThrow(RangeError)
})
