/** The table of broken input in test/README.md names tests that exist. */
import { expect, test } from "bun:test"
import { join } from "node:path"

const root = join(import.meta.dir, "..", "..")

/** Pairs of a file and a name in it: `file`: "name", "name"; `file`: … */
async function named(): Promise<[string, string][]> {
  const text = await Bun.file(join(root, "test", "README.md")).text()
  const parts = [...text.matchAll(/`((?:test|kernels)\/[^`]+)`: ((?:"[^"]+"(?:, )?)+)/g)]
  return parts.flatMap(([, file, names]) =>
    [...names!.matchAll(/"([^"]+)"/g)].map(([, name]): [string, string] => [file!, name!]),
  )
}

test("each test that the table names is there", async () => {
  const pairs = await named()
  expect(pairs.length).toBeGreaterThan(80)
  const texts = new Map<string, string>()
  for (const [file] of pairs) texts.set(file, await Bun.file(join(root, file)).text())
  const lost = pairs.filter(([file, name]) => !texts.get(file)!.includes(name))
  expect(lost).toEqual([])
})
