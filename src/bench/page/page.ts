/**
 * A benchmark as one page that needs nothing else: style and charts are in it, there is no script, and no address is
 * asked. Or its charts alone as one picture.
 */
import { formatMemory, formatPlural } from "../../format.ts"
import type { BenchSetting } from "../json.ts"
import { BENCH_KINDS, type BenchRow } from "../row.ts"
import { cellsOf, HEADINGS, notesOf } from "../table.ts"
import { panelsOf } from "./charts.ts"
import { element, escapeMarkup, type Markup } from "./markup.ts"
import { PANEL_STYLE, type Panel, panelSvg, pictureSvg } from "./panel.ts"

const PAGE_STYLE = `
:root{color-scheme:light dark;--ink:#1b1f24;--faint:#57606a;--line:#d0d7de;--ground:#fff}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--faint:#9da7b1;--line:#3a424b;--ground:#0d1117}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--ground);max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2.5rem}p{color:var(--faint)}svg{width:100%;height:auto}
.table{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .7rem .2rem 0;text-align:left;white-space:nowrap;border-bottom:1px solid var(--line)}.r{text-align:right}
`

function settingText({ version, machine, date }: BenchSetting): string {
  const cpu = machine.cpu === "" ? "unknown CPU" : machine.cpu
  const cores = formatPlural(machine.threads, "thread")
  const memory = formatMemory(machine.memoryTotal)
  return `${cpu}, ${cores}, level ${machine.level}, ${memory} of memory; dequantizer ${version}, ${date.toISOString().slice(0, 10)}`
}

/** A chart of its own, with its heading. */
function figure(panel: Panel, index: number): Markup {
  return element("section", {}, element("h2", {}, panel.title), panelSvg(panel, `chart-${index}`))
}

function tables(rows: readonly BenchRow[]): Markup[] {
  return BENCH_KINDS.filter((kind) => rows.some((row) => row.kind === kind)).map((kind) => {
    const { columns, cells } = cellsOf(kind, rows)
    const kindOf = (column: number) => (columns[column]?.align === "right" ? "r" : undefined)
    const head = columns.map(({ title }, i) => element("th", { scope: "col", class: kindOf(i) }, title))
    const body = cells.map((row) =>
      element(
        "tr",
        {},
        row.map((cell, i) => element("td", { class: kindOf(i) }, cell)),
      ),
    )
    return element(
      "section",
      {},
      element("h2", {}, `Figures: ${HEADINGS[kind]}`),
      element(
        "div",
        { class: "table" },
        element("table", {}, element("thead", {}, element("tr", {}, head)), element("tbody", {}, body)),
      ),
      notesOf(kind, rows).map((note) => element("p", {}, note)),
    )
  })
}

export function benchPage(rows: readonly BenchRow[], setting: BenchSetting): string {
  const title = "dequantizer bench"
  const head = [
    '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`,
    `<title>${escapeMarkup(title)}</title>`,
    `<style>${PAGE_STYLE}${PANEL_STYLE}</style>`,
  ]
  const body = element(
    "body",
    {},
    element("h1", {}, title),
    element("p", {}, settingText(setting)),
    panelsOf(rows).map(figure),
    tables(rows),
  )
  return `<!doctype html>\n<html lang="en">\n<head>\n${head.join("\n")}\n</head>\n${body.markup}\n</html>\n`
}

/** The charts as one SVG file. */
export function benchPicture(rows: readonly BenchRow[], setting: BenchSetting): string {
  const svg = pictureSvg(panelsOf(rows), `dequantizer bench: ${settingText(setting)}`)
  return `<?xml version="1.0" encoding="UTF-8"?>\n${svg.markup}\n`
}
