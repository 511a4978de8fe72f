/** Bounded concurrency: order, bound, and what a fault stops. */
import { expect, test } from "bun:test"
import { mapConcurrent } from "../../src/checkpoint/concurrent.ts"

test("results keep the order of the items, and no more than the bound run at once", async () => {
  let running = 0
  let most = 0
  const results = await mapConcurrent([...Array(50).keys()], 7, async (item) => {
    running += 1
    most = Math.max(most, running)
    for (let i = 0; i <= item % 5; i += 1) await Promise.resolve()
    running -= 1
    return item * 2
  })
  expect(results).toEqual([...Array(50).keys()].map((item) => item * 2))
  expect(most).toBe(7)
})

test("after a fault no item is begun, and the first fault is thrown when all work has ended", async () => {
  const begun: number[] = []
  let ended = 0
  const run = mapConcurrent([0, 1, 2, 3, 4, 5, 6, 7], 2, async (item) => {
    begun.push(item)
    for (let i = 0; i < 10; i += 1) await Promise.resolve()
    ended += 1
    if (item === 2 || item === 3) throw new Error(`fault ${item}`)
    return item
  })
  await expect(run).rejects.toThrow("fault 2")
  expect(begun).toEqual([0, 1, 2, 3])
  expect(ended).toBe(4)
})

test("no items", async () => {
  expect(await mapConcurrent([], 4, async () => 1)).toEqual([])
})
