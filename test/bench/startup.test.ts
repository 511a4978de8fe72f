/** The start-up bench runs, so that it still does when it is wanted. */
import { expect, test } from "bun:test"
import { benchStartup, describeStartup } from "./startup.ts"

test("the start-up bench runs every command", async () => {
  const results = await benchStartup(1)
  expect(results.map(({ command }) => command)).toEqual([
    "true",
    "--version",
    "help",
    "inspect, one file",
    "inspect, a folder",
  ])
  for (const { medianSeconds, bestSeconds } of results) {
    expect(bestSeconds).toBeGreaterThan(0)
    expect(medianSeconds).toBeGreaterThanOrEqual(bestSeconds)
  }
  expect(describeStartup(results)).toHaveLength(results.length)
})
