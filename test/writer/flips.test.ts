/** One bit of an output flipped, anywhere in any of its files: a full comparison finds it, each time. */
import { expect, test } from "bun:test"
import { readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DequantizerError, ExitCode } from "../../src/errors.ts"
import { runPlan } from "../../src/writer/run.ts"
import type { VerifyOptions } from "../../src/writer/types.ts"
import { verifyOutput } from "../../src/writer/verify.ts"
import { randomWords } from "../support/checkpoints.ts"
import { plannedFolder, tree } from "./fixture.ts"

const FLIPS = 1000

/** What tells of the damage: a report that is not ok, or a fault of the file. */
async function finds(output: string, options: VerifyOptions): Promise<boolean> {
  try {
    return !(await verifyOutput(output, options)).ok
  } catch (error) {
    if (error instanceof DequantizerError && error.exitCode !== ExitCode.io) return true
    throw error
  }
}

test(`each of ${FLIPS} flipped bits is found with the source, and with the manifest`, async () => {
  using input = await plannedFolder({}, { layers: 1, experts: 2, hidden: 64, intermediate: 32, vocabulary: 8 })
  const output = input.folder.file("out")
  await runPlan(input.plan, { output, manifest: true })
  const source = { source: input.folder.file("in"), sample: "all", threads: 1 } as const
  // The manifest is not a part of what was converted.
  const names = tree(output).filter((name) => name !== "manifest.json")
  const next = randomWords(5)
  const missed: string[] = []
  const byFile = new Map<string, number>()
  for (let i = 0; i < FLIPS; i += 1) {
    // Half of them anywhere, half of them in a file taken at random: most bytes are those of tensors.
    const name = i % 2 === 0 ? names[next() % names.length]! : atByte(output, names, next)
    const path = join(output, name)
    const right = readFileSync(path)
    // Half of those in weights go to the header.
    const limit = name.endsWith(".safetensors") && i % 4 === 0 ? 8 + Number(right.readBigUInt64LE(0)) : right.length
    const position = next() % limit
    const bit = 1 << (next() % 8)
    const wrong = Uint8Array.from(right)
    wrong[position]! ^= bit
    writeFileSync(path, wrong)
    if (!(await finds(output, source))) missed.push(`source: ${name} byte ${position} bit ${bit}`)
    if (!(await finds(output, { manifest: true, threads: 1 })))
      missed.push(`manifest: ${name} byte ${position} bit ${bit}`)
    writeFileSync(path, right)
    byFile.set(name, (byFile.get(name) ?? 0) + 1)
  }
  console.log(`${FLIPS} bits flipped in ${byFile.size} files, ${missed.length} missed`)
  expect(missed).toEqual([])
  expect(await finds(output, source)).toBe(false)
  expect(await finds(output, { manifest: true })).toBe(false)
}, 120_000)

/** The file of a byte taken at random from all files. */
function atByte(output: string, names: readonly string[], next: () => number): string {
  const sizes = names.map((name) => statSync(join(output, name)).size)
  let position = next() % sizes.reduce((sum, size) => sum + size, 0)
  for (const [i, size] of sizes.entries()) {
    if (position < size) return names[i]!
    position -= size
  }
  throw new Error("unreachable: the position is within the sum")
}
