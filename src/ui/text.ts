/** Text on a terminal: its width in columns, cutting, padding and wrapping. */

/** Columns that a terminal gives to the text; colour sequences take none. */
export function textWidth(text: string): number {
  return Bun.stringWidth(text)
}

/** The first characters of `text` that fit `width` columns. */
function takeColumns(text: string, width: number): string {
  let taken = ""
  let used = 0
  for (const character of text) {
    used += textWidth(character)
    if (used > width) break
    taken += character
  }
  return taken
}

/** The last characters of `text` that fit `width` columns. */
function takeLastColumns(text: string, width: number): string {
  const reversed = [...text].reverse().join("")
  return [...takeColumns(reversed, width)].reverse().join("")
}

/** The text, or its end after `…` when it is wider than `width` columns. `text` must have no colour in it. */
export function cutStart(text: string, width: number): string {
  if (textWidth(text) <= width) return text
  if (width <= 1) return width === 1 ? "…" : ""
  return `…${takeLastColumns(text, width - 1)}`
}

/**
 * The text, or its two ends with `…` between them when it is wider than `width` columns: tensor names differ at their
 * ends more often than in the middle. `text` must have no colour in it.
 */
export function cutMiddle(text: string, width: number): string {
  if (textWidth(text) <= width) return text
  if (width <= 1) return width === 1 ? "…" : ""
  const room = width - 1
  const head = takeColumns(text, Math.ceil(room / 2))
  return `${head}…${takeLastColumns(text, room - textWidth(head))}`
}

export function padEnd(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - textWidth(text)))
}

export function padStart(text: string, width: number): string {
  return " ".repeat(Math.max(0, width - textWidth(text))) + text
}

/** Breaks a paragraph into lines of at most `width` columns at its spaces; a longer word keeps a line of its own. */
export function wrapText(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ""
  for (const word of text.split(" ")) {
    if (line !== "" && textWidth(line) + 1 + textWidth(word) > width) {
      lines.push(line)
      line = word
    } else line = line === "" ? word : `${line} ${word}`
  }
  lines.push(line)
  return lines
}
