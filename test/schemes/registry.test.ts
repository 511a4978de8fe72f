/** The registry has no order: whichever schemes are asked first, each weight of each fixture is found by the same one. */
import { describe, expect, test } from "bun:test"
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { DequantizerError } from "../../src/errors.ts"
import { formatRows, schemes, takeInventory } from "../../src/schemes/index.ts"
import type { MatchContext, Scheme, Weight } from "../../src/schemes/scheme.ts"

const root = join(import.meta.dir, "..", "fixtures", "formats")
const folders = readdirSync(root).filter((name) => existsSync(join(root, name, "checkpoint")))

test("names differ, and each scheme has a row", () => {
  const names = formatRows.map(({ name }) => name)
  expect(new Set(names).size).toBe(names.length)
  expect(names).toEqual([...schemes.map(({ name }) => name), "dense"])
  expect(schemes.filter(({ isLastResort }) => isLastResort).map(({ name }) => name)).toEqual(["fp8-unscaled"])
})

/** Whether the scheme takes the weight's codes for its own: as a weight, or as a broken one. */
function knows(scheme: Scheme, { sources }: Weight, context: MatchContext): boolean {
  try {
    return scheme.match(sources[0]!.tensor, context) !== undefined
  } catch (error) {
    if (error instanceof DequantizerError) return true
    throw error
  }
}

describe("each weight has one scheme among the declared ones, or else among the others", () => {
  test.each(folders)("%s", async (folder) => {
    const checkpoint = await openCheckpoint(join(root, folder, "checkpoint"))
    const { weights } = takeInventory(checkpoint)
    const context = {
      checkpoint,
      missingScale: "error",
      tensor: (name: string) => checkpoint.tensors.get(name),
    } as const
    for (const weight of weights) {
      const own = schemes.find(({ name }) => name === weight.scheme)!
      const isDeclared = own.declared(checkpoint)
      const rivals = schemes.filter((scheme) => !scheme.isLastResort && scheme.declared(checkpoint) === isDeclared)
      const found = rivals.filter((scheme) => knows(scheme, weight, context)).map(({ name }) => name)
      expect([weight.name, found]).toEqual([weight.name, [weight.scheme]])
    }
  })
})
