/** The strict JSON reader against JSON.parse on random texts and mutations, and where it must differ. */
import { describe, expect, test } from "bun:test"
import {
  decodeUtf8,
  isJsonArray,
  isJsonObject,
  JsonNumber,
  JsonReader,
  type JsonValue,
  jsonInteger,
  parseJsonObject,
  stringifyJson,
} from "../../src/containers/json.ts"
import { MalformedError } from "../../src/errors.ts"
import { randomWords } from "../support/checkpoints.ts"

const encode = (text: string) => new TextEncoder().encode(text)
const parse = (text: string) => parseJsonObject(encode(text), "x.json")

/** The value as JSON.parse gives it. */
function plain(value: JsonValue): unknown {
  if (value instanceof JsonNumber) return Number(value.text)
  if (isJsonArray(value)) return value.map(plain)
  if (isJsonObject(value)) {
    const object: Record<string, unknown> = Object.create(null)
    for (const [key, member] of value) object[key] = plain(member)
    return object
  }
  return value
}

const PIECES = [
  "a",
  "\\n",
  "\\u00e9",
  "\\ud83d\\ude00",
  "é",
  "日",
  "\\\\",
  '\\"',
  "__proto__",
  " ",
  "/",
  "\\/",
  "\u007f",
]
const NUMBERS = ["0", "-0", "1", "-17", "3.25", "1e5", "1E-7", "1.5e+300", "9007199254740993", "12345678901234567890"]

function randomText(next: () => number, depth: number): string {
  const space = () => ["", "", "", " ", "\n", "\t\r "][next() % 6]!
  const text = () => `"${Array.from({ length: next() % 4 }, () => PIECES[next() % PIECES.length]).join("")}"`
  const kind = next() % (depth > 4 ? 5 : 7)
  if (kind === 0) return ["true", "false", "null"][next() % 3]!
  if (kind <= 2) return NUMBERS[next() % NUMBERS.length]!
  if (kind <= 4) return text()
  const count = next() % 4
  const items = Array.from({ length: count }, () => space() + randomText(next, depth + 1) + space())
  if (kind === 5) return `[${items.join(",")}]`
  // A number before each key keeps them apart: duplicate keys have tests of their own.
  return `{${items.map((item, i) => `${space()}"${i}${text().slice(1)}${space()}:${item}`).join(",")}}`
}

/** What JSON.parse says of a text that must be an object. */
function reference(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined
  } catch {
    return undefined
  }
}

describe("JsonReader", () => {
  test("reads what JSON.parse reads, and refuses what it refuses", () => {
    const seed = Date.now() >>> 0
    const next = randomWords(seed)
    let accepted = 0
    for (let round = 0; round < 6000; round += 1) {
      let text = `{"root":${randomText(next, 0)}}`
      if (round % 2 === 1) {
        const at = next() % text.length
        const piece = ["", '"', ",", "0", "}", "]", "\\", "\u0001", "-", ".", "e", ":", "{"][next() % 13]!
        text = text.slice(0, at) + piece + text.slice(at + (next() % 2))
      }
      const expected = reference(text)
      let found: unknown
      try {
        found = plain(parse(text))
      } catch (fault) {
        expect(fault).toBeInstanceOf(MalformedError)
        const words = fault instanceof Error ? fault.message : ""
        // A mutation may make two keys equal or tear a pair of surrogates: JSON.parse does not mind.
        if (/duplicate key|lone surrogate/.test(words)) continue
      }
      if (expected !== undefined) accepted += 1
      expect({ seed, text, value: found }).toEqual({ seed, text, value: expected })
    }
    expect(accepted).toBeGreaterThan(3000)
  })

  test("keeps every key, whatever it is called", () => {
    const value = parse('{"__proto__":{"x":1},"constructor":"c","toString":null,"":2}')
    expect([...value.keys()]).toEqual(["__proto__", "constructor", "toString", ""])
    expect(Object.hasOwn(Object.prototype, "x")).toBe(false)
  })

  test("duplicate keys are faults at every level, in escapes too", () => {
    for (const text of [
      '{"a":1,"a":1}',
      '{"a":{"b":1,"b":2}}',
      '{"a":[{"b":1,"\\u0062":2}]}',
      '{"__proto__":1,"__proto__":2}',
    ]) {
      expect(() => parse(text)).toThrow(/^x\.json: duplicate key "[^"]+" \(at character \d+\)$/)
    }
  })

  test("integers", () => {
    const read = (text: string, wide = false) => new JsonReader(text, "x").integer(wide)
    expect(read("0")).toBe(0)
    expect(read(" 9007199254740991,")).toBe(2 ** 53 - 1)
    for (const text of [
      "-1",
      "-0",
      "1.0",
      "1e3",
      "1E3",
      "01",
      "+1",
      '"1"',
      "",
      "9007199254740992",
      "9007199254740993",
    ]) {
      expect(() => read(text)).toThrow(MalformedError)
    }
    expect(read("9223372036854775808", true)).toBe(2 ** 63)
    for (const text of ["9223372036854775809", "18446744073709551615", "18446744073709551616", `1${"0".repeat(400)}`]) {
      expect(() => read(text, true)).toThrow(/out of range/)
    }
  })

  test("nesting ends at 127 levels", () => {
    const nested = (depth: number) => `{"a":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}}`
    expect(parse(nested(127)).size).toBe(1)
    expect(() => parse(nested(128))).toThrow(/nesting/)
    expect(() => parse(nested(1_000_000))).toThrow(/nesting/)
  })

  test("UTF-8 is strict", () => {
    const faulty = [
      [0xff],
      [0xc0, 0x80],
      [0xe0, 0x80, 0xaf],
      [0xed, 0xa0, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
      [0xe2, 0x82],
      [0x80],
    ]
    for (const bytes of faulty) expect(() => decodeUtf8(new Uint8Array(bytes), "x")).toThrow("x: not valid UTF-8")
    expect(decodeUtf8(encode("\ufeff日😀"), "x")).toBe("\ufeff日😀")
  })

  test("Python's constants only where they are allowed", () => {
    const text = '{"a":[0.0, Infinity, -Infinity, NaN]}'
    expect(() => parse(text)).toThrow(/not valid JSON/)
    const value = parseJsonObject(encode(text), "x.json", { pythonConstants: true })
    expect(stringifyJson(value)).toBe('{\n  "a": [\n    0.0,\n    Infinity,\n    -Infinity,\n    NaN\n  ]\n}')
  })
})

describe("rewriting", () => {
  test("numbers and the order of keys stay as they are", () => {
    const text = `{
  "z": 1e-05,
  "2": 1.0,
  "1": 123456789012345678901234567890,
  "a": [],
  "b": {},
  "c": [
    -0.0,
    {
      "é": "日\\n"
    }
  ],
  "d": null
}`
    expect(stringifyJson(parse(text))).toBe(text)
  })

  test("integers are exact or none", () => {
    const value = parse('{"a":32,"b":1.0,"c":1e2,"d":-1,"e":9007199254740993,"f":"1"}')
    const integers = [...value.values()].map(jsonInteger)
    expect(integers).toEqual([32, undefined, undefined, -1, undefined, undefined])
  })
})

describe("time is linear", () => {
  const cases: Readonly<Record<string, () => string>> = {
    "one string of escapes": () => `{"${"\\n".repeat(5_000_000)}":1}`,
    "one string of escaped backslashes": () => `{"${"\\\\".repeat(5_000_000)}":1}`,
    "one string of quotes": () => `{"${'\\"'.repeat(5_000_000)}":1}`,
    "a string that does not end": () => `{"${'\\"'.repeat(5_000_000)}`,
    spaces: () => `{${" ".repeat(10_000_000)}}`,
    "one number": () => `{"a":${"1".repeat(10_000_000)}}`,
    "many keys": () => `{${Array.from({ length: 500_000 }, (_, i) => `"${i}":0`).join(",")}}`,
    "many elements": () => `{"a":[${"0,".repeat(2_000_000)}0]}`,
  }
  for (const [name, text] of Object.entries(cases)) {
    test(name, () => {
      try {
        parse(text())
      } catch (fault) {
        expect(fault).toBeInstanceOf(MalformedError)
      }
    }, 10_000)
  }
})
