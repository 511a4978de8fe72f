import { describe, expect, test } from "bun:test"
import { UsageError } from "../../src/errors.ts"
import { compileGlob, compileGlobs, escapeGlob } from "../../src/plan/glob.ts"

const name = "model.layers.11.mlp.experts.gate_up_proj"

describe("a glob fits a whole name", () => {
  test.each([
    ["*", name, true],
    ["**", name, true],
    ["model.*", name, true],
    ["*gate_up_proj", name, true],
    ["gate_up_proj", name, false],
    ["model.layers.??.mlp.*", name, true],
    ["model.layers.?.mlp.*", name, false],
    ["model.layers.[0-9][0-9].*", name, true],
    ["model.layers.1[!1].*", name, false],
    ["model.layers.1[^2-9].*", name, true],
    ["model.layers.{0,11,12}.*", name, true],
    ["model.layers.{0,1,12}.*", name, false],
    ["*.{mlp.{router,experts.*},self_attn}", name, true],
    ["*.mlp.{router,experts}.{down,gate_up}_proj", name, true],
    ["{,model.}layers.0", "layers.0", true],
    ["{,model.}layers.0", "model.layers.0", true],
    ["{,model.}layers.0", "mod.layers.0", false],
    ["a*b*c", "axxbxxbxc", true],
    ["a*b*c", "axxbxxbxd", false],
    ["", "", true],
    ["", "a", false],
    ["*", "", true],
    ["?", "", false],
    ["?", "é", true],
    ["?", "😀", true],
    ["[α-ω]", "λ", true],
  ])("%p on %p: %p", (glob, text, fits) => {
    expect(compileGlob(glob)(text)).toBe(fits)
  })
})

describe("a slash separates components", () => {
  test.each([
    ["*", "encoder/layer", false],
    ["**", "encoder/layer", true],
    ["?", "/", false],
    ["[!a]", "/", false],
    ["[/]", "/", false],
    ["encoder/*/kernel", "encoder/0/kernel", true],
    ["encoder/*/kernel", "encoder/0/1/kernel", false],
    ["encoder/**/kernel", "encoder/0/1/kernel", true],
    ["encoder/**/kernel", "encoder/kernel", true],
    ["encoder**/kernel", "encoder/kernel", true],
    ["encoder**/kernel", "encoderkernel", false],
    ["**/kernel", "kernel", true],
    ["**/kernel", "a/b/kernel", true],
    ["**/kernel", "akernel", false],
    ["encoder/**", "encoder/0/1", true],
  ])("%p on %p: %p", (glob, text, fits) => {
    expect(compileGlob(glob)(text)).toBe(fits)
  })
})

describe("characters that stand for themselves", () => {
  test.each([
    ["a\\*b", "a*b", true],
    ["a\\*b", "axb", false],
    ["[]]", "]", true],
    ["[]a]", "a", true],
    ["[a-]", "-", true],
    ["[a-]", "b", false],
    ["[\\]]", "]", true],
    ["a,b", "a,b", true],
    ["a]b", "a]b", true],
    ["a.b", "axb", false],
    ["a+b$", "a+b$", true],
    ["(a|b)", "(a|b)", true],
  ])("%p on %p: %p", (glob, text, fits) => {
    expect(compileGlob(glob)(text)).toBe(fits)
  })

  test.each(["w*?[a]{b,c}\\", "plain.name", "", "a/b,c", "😀*"])("escapeGlob(%p) fits that name alone", (text) => {
    const fits = compileGlob(escapeGlob(text))
    expect(fits(text)).toBe(true)
    expect(fits(`${text}x`)).toBe(false)
  })
})

describe("what is not well formed is a usage error that quotes the glob", () => {
  test.each([
    ["[a", "'[' without ']'"],
    ["[", "'[' without ']'"],
    ["[]", "'[' without ']'"],
    ["{a,b", "'{' without '}'"],
    ["a}", "'}' without '{'"],
    ["a\\", "'\\' at the end"],
    ["[z-a]", "ends before it starts"],
  ])("%p: %s", (glob, what) => {
    expect(() => compileGlob(glob)).toThrow(UsageError)
    expect(() => compileGlob(glob)).toThrow(what)
    expect(() => compileGlob(glob)).toThrow(JSON.stringify(glob))
  })

  test("a glob beyond the limit", () => {
    expect(() => compileGlob("a".repeat(4097))).toThrow(UsageError)
    expect(compileGlob("a".repeat(4096))("a".repeat(4096))).toBe(true)
  })
})

test("a glob that makes backtracking matchers explode stays linear in the name", () => {
  const fits = compileGlob(`${"a*".repeat(30)}b`)
  const started = performance.now()
  expect(fits("a".repeat(2000))).toBe(false)
  expect(compileGlob(`${"{".repeat(500)}a${"}".repeat(500)}`)("a")).toBe(true)
  expect(performance.now() - started).toBeLessThan(2000)
})

test("several globs: any of them; none: what the caller says", () => {
  const fits = compileGlobs(["a*", "*z"], false)
  expect(["ab", "bz", "bb"].map(fits)).toEqual([true, true, false])
  expect(compileGlobs([], true)("x")).toBe(true)
  expect(compileGlobs([], false)("x")).toBe(false)
})
