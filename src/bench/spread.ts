/** What repeated measurements come to: the middle, how far they lie around it, and the ends. */

export interface Spread {
  readonly count: number
  readonly median: number
  readonly min: number
  readonly max: number
  /** Median of the distances from the median: what a few disturbed passes do not move. */
  readonly mad: number
}

/** Of one value at least. */
export function spreadOf(values: readonly number[]): Spread {
  const median = medianOf(values)
  return {
    count: values.length,
    median,
    min: Math.min(...values),
    max: Math.max(...values),
    mad: medianOf(values.map((value) => Math.abs(value - median))),
  }
}

/** The middle value; of an even count, the mean of the middle two. */
export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle]
  if (upper === undefined) throw new RangeError("there is no median of nothing")
  return sorted.length % 2 === 1 ? upper : (sorted[middle - 1]! + upper) / 2
}
