import { describe, expect, test } from "bun:test"
import {
  formatBits,
  formatBytes,
  formatBytesExact,
  formatClock,
  formatCount,
  formatInteger,
  formatMemory,
  formatPlural,
  formatRate,
  formatSeconds,
  formatShape,
  parseDuration,
  parseSize,
} from "../../src/format.ts"

describe("sizes", () => {
  test.each([
    [0, "0 B"],
    [1, "1 B"],
    [999, "999 B"],
    [1000, "1.00 kB"],
    [9_994, "9.99 kB"],
    [9_996, "10.0 kB"],
    [1055, "1.05 kB"],
    [1065, "1.06 kB"],
    [99_949, "99.9 kB"],
    [999_499, "999 kB"],
    [999_500, "1.00 MB"],
    [13_761_264_768, "13.8 GB"],
    [999_999_999_999, "1.00 TB"],
    [Number.MAX_SAFE_INTEGER, "9.01 PB"],
  ])("%d bytes are %s", (bytes, expected) => {
    expect(formatBytes(bytes)).toBe(expected)
  })

  test("the exact form has the number that ls prints", () => {
    expect(formatBytesExact(13_761_264_768)).toBe("13.8 GB (13,761,264,768 bytes)")
    expect(formatBytesExact(999)).toBe("999 bytes")
  })

  test("memory counts in powers of 1024", () => {
    expect(formatMemory(1024)).toBe("1 KiB")
    expect(formatMemory(2 ** 30)).toBe("1 GiB")
    expect(formatMemory(1.5 * 2 ** 30)).toBe("1.50 GiB")
    expect(formatMemory(96 * 2 ** 20)).toBe("96 MiB")
    expect(formatMemory(1023.7 * 2 ** 20)).toBe("1 GiB")
  })

  test("counts are those of model cards", () => {
    expect(formatCount(640)).toBe("640")
    expect(formatCount(20_914_757_184)).toBe("20.9 B")
    expect(formatCount(1_100_048_384)).toBe("1.10 B")
    expect(formatCount(22_713_216)).toBe("22.7 M")
  })

  test("digits are grouped from the right", () => {
    expect(["0", "12", "123", "1234", "1234567"].map(Number).map(formatInteger)).toEqual([
      "0",
      "12",
      "123",
      "1,234",
      "1,234,567",
    ])
  })

  test("rates have no value where no time has passed", () => {
    expect(formatRate(3_210_000_000, 1)).toBe("3.21 GB/s")
    expect(formatRate(100, 0)).toBe("–")
  })

  test("shapes, bits and plurals", () => {
    expect(formatShape([32, 5760, 90, 16])).toBe("[32, 5760, 90, 16]")
    expect(formatShape([])).toBe("[]")
    expect([4.25, 16, 4.5, 8.125].map(formatBits)).toEqual(["4.25", "16", "4.5", "8.13"])
    expect(formatPlural(1, "tensor")).toBe("1 tensor")
    expect(formatPlural(2459, "tensor")).toBe("2,459 tensors")
    expect(formatPlural(2, "matrix", "matrices")).toBe("2 matrices")
  })
})

describe("times", () => {
  test.each([
    [0, "0 ms"],
    [0.0042, "4 ms"],
    [0.9994, "999 ms"],
    [0.9996, "1.00 s"],
    [9.994, "9.99 s"],
    [9.996, "10.0 s"],
    [59.96, "1 min 00 s"],
    [185, "3 min 05 s"],
    [3725, "1 h 02 min"],
  ])("%d seconds are %s", (seconds, expected) => {
    expect(formatSeconds(seconds)).toBe(expected)
  })

  test.each([
    [-3, "0:00"],
    [7, "0:07"],
    [725, "12:05"],
    [3723, "1:02:03"],
  ])("%d seconds on a clock are %s", (seconds, expected) => {
    expect(formatClock(seconds)).toBe(expected)
  })
})

describe("parseSize", () => {
  test.each([
    ["1", 1],
    ["512", 512],
    ["5GB", 5e9],
    ["5G", 5e9],
    ["5g", 5e9],
    ["1GiB", 2 ** 30],
    ["1Gi", 2 ** 30],
    ["512MiB", 512 * 2 ** 20],
    ["1.5k", 1500],
    ["64K", 64_000],
    ["64 KiB", 65_536],
    ["2T", 2e12],
    ["100B", 100],
  ])("%s is %d bytes", (text, bytes) => {
    expect(parseSize(text)).toBe(bytes)
  })

  test.each([
    "",
    "0",
    "0GB",
    "-1",
    "1e9",
    "five",
    "5 G B",
    "5GBs",
    "G",
    ".5G",
    "1,5G",
    "0x10",
    "9007199254740993",
    "99999999T",
    "NaN",
  ])("%p is no size", (text) => {
    expect(parseSize(text)).toBeUndefined()
  })
})

describe("parseDuration", () => {
  test.each([
    ["3s", 3],
    ["3", 3],
    ["500ms", 0.5],
    ["1.5 s", 1.5],
    ["2min", 120],
    ["2M", 120],
    ["24000ms", 24],
  ])("%s is %d seconds", (text, seconds) => {
    expect(parseDuration(text)).toBe(seconds)
  })

  test.each(["", "0", "0ms", "s", "-1s", "3h", "1e3", "100000s", "3 s s"])("%j is none", (text) => {
    expect(parseDuration(text)).toBeUndefined()
  })
})
