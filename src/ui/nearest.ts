/** "Did you mean": the known word that a mistyped one is nearest to. */

/**
 * Edits from `a` to `b`: insert, delete, replace, or swap of two neighbours (optimal string alignment distance).
 * Words of the command line are short, so the full table is kept.
 */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, index) => index)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let best = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + cost)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, rows[i - 2]![j - 2]! + 1)
      row.push(best)
    }
    rows.push(row)
  }
  return rows[a.length]![b.length]!
}

/** Longer words are not mistyped option names, and the table grows with their square. */
const LENGTH_MAX = 40

/** The nearest of `words`, if it is near enough to be what was meant: a third of its letters, or a word begun. */
export function nearest(given: string, words: readonly string[]): string | undefined {
  if (given.length < 2 || given.length > LENGTH_MAX) return undefined
  let best: string | undefined
  let bestDistance = Number.POSITIVE_INFINITY
  for (const word of words) {
    const begun = given.length >= 3 && word.startsWith(given)
    const distance = begun ? 0.5 : editDistance(given, word)
    const near = distance <= Math.max(1, Math.floor(Math.max(word.length, given.length) / 3))
    if (near && distance < bestDistance) {
      best = word
      bestDistance = distance
    }
  }
  return best
}
