import { describe, expect, test } from "bun:test"
import { renderFacts, renderMarkdownTable, renderTable } from "../../src/ui/table.ts"
import { cutMiddle, cutStart, padEnd, padStart, textWidth, wrapText } from "../../src/ui/text.ts"

describe("text", () => {
  test("padding counts columns, not characters", () => {
    expect(padEnd("重み", 6)).toBe("重み  ")
    expect(padStart("ab", 4)).toBe("  ab")
    expect(padEnd("long", 2)).toBe("long")
  })

  test.each([
    ["model.layers.0", 14, "model.layers.0"],
    ["model.layers.0", 13, "model.…yers.0"],
    ["abcdef", 3, "a…f"],
    ["abcdef", 2, "a…"],
    ["abcdef", 1, "…"],
    ["abcdef", 0, ""],
    ["重み重み重み", 7, "重…み"],
  ])("%s cut to %d columns", (text, width, expected) => {
    const cut = cutMiddle(text, width)
    expect(textWidth(cut)).toBeLessThanOrEqual(width)
    if (text !== "重み重み重み") expect(cut).toBe(expected)
  })

  test.each([
    ["model.layers.0", 14, "model.layers.0"],
    ["model.layers.0", 9, "…layers.0"],
    ["abc", 1, "…"],
    ["abc", 0, ""],
  ])("the end of %s in %d columns", (text, width, expected) => {
    expect(cutStart(text, width)).toBe(expected)
  })

  test("wrapping keeps every word and the width", () => {
    const lines = wrapText("one two three four averyveryverylongword five", 10)
    expect(lines).toEqual(["one two", "three four", "averyveryverylongword", "five"])
  })
})

describe("tables", () => {
  const columns = [
    { title: "NAME", shrink: true },
    { title: "SIZE", align: "right" as const },
  ]

  test("columns are as wide as their widest cell and lines have no blanks at their ends", () => {
    expect(
      renderTable(columns, [
        ["a", "1.00 GB"],
        ["long name", "1 B"],
      ]),
    ).toEqual(["NAME          SIZE", "a          1.00 GB", "long name      1 B"])
    expect(renderTable([{ title: "A" }, { title: "B" }], [["x", ""]])).toEqual(["A  B", "x"])
  })

  test("the shrinking column gives way to the width of the terminal", () => {
    const lines = renderTable(columns, [["model.layers.0.mlp.experts.gate_up_proj", "1.00 GB"]], { width: 30 })
    expect(lines).toEqual(["NAME                      SIZE", "model.laye…te_up_proj  1.00 GB"])
    expect(lines.every((line) => textWidth(line) <= 30)).toBe(true)
  })

  test("facts are aligned, and a value of several lines stays in its column", () => {
    expect(
      renderFacts([
        ["size", "1 B"],
        ["declared", ["mxfp4", "fp8"]],
      ]),
    ).toEqual(["size      1 B", "declared  mxfp4", "          fp8"])
  })

  test("Markdown cells cannot end their column", () => {
    expect(renderMarkdownTable(["A", "B"], [["x|y", "z"]])).toEqual(["| A | B |", "| --- | --- |", "| x\\|y | z |"])
  })
})
