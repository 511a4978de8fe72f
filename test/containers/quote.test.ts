/** Names in messages can do nothing to a terminal and cannot be mistaken for other text. */
import { describe, expect, test } from "bun:test"
import { escapeText, quote, tensorFault } from "../../src/containers/quote.ts"

describe("quote", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["model.norm.weight", '"model.norm.weight"'],
    ["a\nb\r\tc", '"a\\nb\\r\\tc"'],
    ["\u001b]0;title\u0007", '"\\x1b]0;title\\x07"'],
    ["\u009b31m", '"\\x9b31m"'],
    ["\u202egpj.\u2066", '"\\u202egpj.\\u2066"'],
    ["\ud800x", '"\\ud800x"'],
    ["😀 日本", '"😀 日本"'],
    ["\u{e0041}", '"\\u{e0041}"'],
    ['a": tensor "b', '"a\\": tensor \\"b"'],
  ]
  test.each(cases)("name %#", (name, expected) => {
    expect(quote(name)).toBe(expected)
  })

  test("long names keep both ends and say their length", () => {
    const name = `${"a".repeat(500)}.blocks`
    expect(quote(name)).toBe(`"${"a".repeat(100)}…${"a".repeat(33)}.blocks" (507 characters)`)
  })

  test("escaping twice changes nothing", () => {
    const once = escapeText("\u001b[0m\n\u2028")
    expect(escapeText(once)).toBe(once)
  })
})

test("the line of a tensor's fault", () => {
  const fault = tensorFault("m/x.safetensors", "a.weight", "has the wrong shape", {
    expected: "[2]",
    found: "[3]",
    hint: "look again",
  })
  expect(fault.message).toBe('m/x.safetensors: tensor "a.weight": has the wrong shape (expected [2], found [3])')
  expect(fault.hint).toBe("look again")
  expect(fault.exitCode).toBe(3)
})
