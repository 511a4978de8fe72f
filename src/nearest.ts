/** "Did you mean": the known words that a mistyped one is nearest to. */

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

/** More names than a checkpoint of ordinary size has would take seconds. */
const NAME_COUNT_MAX = 20_000

/**
 * Of long names made of parts, as tensors have them, those nearest to `given`, the nearest first: names that contain it,
 * names that end with its last two parts, and names that it is at most a sixth of its letters away from.
 */
export function nearestNames(given: string, names: readonly string[], count: number): string[] {
  const end = given.split(".").slice(-2).join(".")
  const edits = Math.max(2, Math.floor(given.length / 6))
  const related = (name: string) => given !== "" && (name.includes(given) || name.endsWith(end))
  return names
    .filter((name) => related(name) || Math.abs(name.length - given.length) <= edits)
    .slice(0, NAME_COUNT_MAX)
    .map((name) => ({ name, distance: editDistance(given, name) }))
    .filter(({ name, distance }) => distance <= edits || related(name))
    .toSorted((a, b) => a.distance - b.distance)
    .slice(0, count)
    .map(({ name }) => name)
}
