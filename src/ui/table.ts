/** Aligned columns of text, two spaces apart, without rules: calm on a terminal and easy to cut with awk. */
import { cutMiddle, padEnd, padStart, textWidth } from "./text.ts"

export interface Column {
  readonly title: string
  readonly align?: "left" | "right"
  /** The column that gives way, its cells cut in the middle, when the table is wider than the terminal. */
  readonly shrink?: boolean
}

export interface TableOptions {
  /** Columns of the terminal; undefined: as wide as the cells are. */
  readonly width?: number | undefined
  readonly indent?: number
  /** Paints the titles. */
  readonly paintTitle?: (text: string) => string
}

const GAP = 2
/** Below this a shrunken column says nothing any more; the line is left to wrap instead. */
const SHRUNK_WIDTH_MIN = 16

function columnWidths(columns: readonly Column[], rows: readonly (readonly string[])[], room: number): number[] {
  const widths = columns.map((column, index) =>
    rows.reduce((widest, row) => Math.max(widest, textWidth(row[index] ?? "")), textWidth(column.title)),
  )
  const total = widths.reduce((sum, width) => sum + width, 0) + GAP * (columns.length - 1)
  const shrinking = columns.findIndex((column) => column.shrink === true)
  if (total > room && shrinking >= 0) {
    const width = widths[shrinking] ?? 0
    widths[shrinking] = Math.min(width, Math.max(SHRUNK_WIDTH_MIN, width - (total - room)))
  }
  return widths
}

/**
 * The table as lines without trailing spaces. A row has one cell for each column; cells are plain text whose control
 * characters have been escaped.
 */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  options: TableOptions = {},
): string[] {
  const indent = " ".repeat(options.indent ?? 0)
  const room = (options.width ?? Number.POSITIVE_INFINITY) - indent.length
  const widths = columnWidths(columns, rows, room)
  const line = (cells: readonly string[]): string => {
    const padded = columns.map((column, index) => {
      const width = widths[index] ?? 0
      const cell = cutMiddle(cells[index] ?? "", width)
      return column.align === "right" ? padStart(cell, width) : padEnd(cell, width)
    })
    return indent + padded.join(" ".repeat(GAP)).trimEnd()
  }
  const title = line(columns.map((column) => column.title))
  return [options.paintTitle === undefined ? title : options.paintTitle(title), ...rows.map(line)]
}

/** Facts as `name   value` lines; a value of several lines continues under itself. */
export function renderFacts(
  facts: readonly (readonly [name: string, value: string | readonly string[]])[],
  options: { readonly indent?: number; readonly paintName?: (text: string) => string } = {},
): string[] {
  const indent = " ".repeat(options.indent ?? 0)
  const width = facts.reduce((widest, [name]) => Math.max(widest, textWidth(name)), 0)
  const paint = options.paintName ?? ((text: string) => text)
  return facts.flatMap(([name, value]) =>
    (typeof value === "string" ? [value] : value).map(
      (text, index) => `${indent}${paint(padEnd(index === 0 ? name : "", width))}${" ".repeat(GAP)}${text}`,
    ),
  )
}

/** A GitHub-flavoured Markdown table; `|` in cells is escaped. */
export function renderMarkdownTable(titles: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`
  return [line(titles), `|${titles.map(() => " --- |").join("")}`, ...rows.map(line)]
}
