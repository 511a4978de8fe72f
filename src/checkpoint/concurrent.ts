/**
 * Asynchronous work on many items, a few at a time: headers of shards on a network file system are read in parallel.
 */

/**
 * `work` on each item, at most `limit` at once; results in the order of the items. The first fault is thrown after
 * the work in flight has ended, and no further item is begun.
 */
export async function mapConcurrent<Item, Result>(
  items: readonly Item[],
  limit: number,
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = []
  const faults: unknown[] = []
  let next = 0
  const worker = async () => {
    while (next < items.length && faults.length === 0) {
      const index = next
      next += 1
      try {
        results[index] = await work(items[index]!)
      } catch (fault) {
        faults.push(fault)
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker))
  if (faults.length > 0) throw faults[0]
  return results
}
