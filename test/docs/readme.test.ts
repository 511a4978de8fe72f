/** What README.md repeats from the program is what the program says. */
import { expect, test } from "bun:test"
import { join } from "node:path"
import { readMatvecResults, readmeMatvecTable } from "../bench/matvec-results.ts"
import { matvecTable } from "../bench/matvec-table.ts"
import { programPath } from "../reference/program.ts"

const root = join(import.meta.dir, "..", "..")

async function readme(): Promise<string> {
  return await Bun.file(join(root, "README.md")).text()
}

function program(...args: string[]): string {
  const run = Bun.spawnSync([programPath(), ...args], { cwd: root })
  expect(run.exitCode).toBe(0)
  return run.stdout.toString()
}

test("the format table is `formats --markdown`", async () => {
  const between = (await readme()).match(/<!-- formats -->\n(.*?)<!-- \/formats -->/s)?.[1]
  expect(between).toBe(program("formats", "--markdown"))
})

const products = readMatvecResults()
const noProducts = products === undefined ? " (skipped: `npm run bench -- matvec` has kept no results yet)" : ""
test.skipIf(noProducts !== "")(`the table of products is that of the kept results${noProducts}`, () => {
  expect(readmeMatvecTable()).toBe(matvecTable(products!.machine, products!.results))
})

test("the screen of inspect is what inspect prints", async () => {
  const screen = program("inspect", "test/fixtures/tiny-gpt-oss")
  const indented = screen.replace(/^(?=.)/gm, "    ")
  expect(await readme()).toContain(indented)
})

test("the exit statuses are those of the help screen", async () => {
  const text = await readme()
  const statuses = program("--help").split("Exit status:\n")[1]!
  for (const [, status] of statuses.matchAll(/^ {2}(\d+(?:, \d+)?) /gm)) expect(text).toContain(`| ${status} |`)
})
