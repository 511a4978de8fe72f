/** `formats`: the table of what can be dequantized, from the registry of schemes. */
import { formatRows } from "../schemes/index.ts"
import { command } from "../ui/command.ts"
import { flag } from "../ui/option.ts"
import { renderFacts, renderMarkdownTable } from "../ui/table.ts"
import { type Palette, print, printLines } from "../ui/terminal.ts"
import { wrapText } from "../ui/text.ts"

/** One format as a heading and its facts: the names of tensors are too long for a row. */
function formatLines(row: (typeof formatRows)[number], index: number, paint: Palette): string[] {
  const facts = [
    ["declared as", row.declaredAs],
    ["stored", wrapText(row.stored, 62)],
    ["bit-exact with", row.reference],
  ] as const
  return [
    ...(index === 0 ? [] : [""]),
    `${paint.heading(row.title)}, ${row.bitsPerWeight} bits per weight`,
    ...renderFacts(facts, { indent: 2, paintName: paint.faint }),
  ]
}

export default command(
  {
    name: "formats",
    summary: "the table of supported formats",
    usage: "[--markdown]",
    positionals: [],
    options: { markdown: flag({ help: "as a Markdown table" }) },
    json: true,
  },
  ({ values, ui }) => {
    if (ui.json) {
      const formats = formatRows.map((row) => ({
        scheme: row.name,
        title: row.title,
        declared_as: row.declaredAs,
        stored: row.stored,
        codec: row.codec,
        bits_per_weight: row.bitsPerWeight,
        reference: row.reference,
      }))
      print(`${JSON.stringify({ schema: 1, formats })}\n`)
    } else if (values.markdown) {
      const titles = ["Format", "Declared as", "Stored tensors", "Bits per weight", "Bit-exact with"]
      const cells = formatRows.map((row) => [row.title, row.declaredAs, row.stored, row.bitsPerWeight, row.reference])
      printLines(renderMarkdownTable(titles, cells))
    } else printLines(formatRows.flatMap((row, index) => formatLines(row, index, ui.paint)))
    return undefined
  },
)
