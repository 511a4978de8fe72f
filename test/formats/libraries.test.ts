/**
 * Small checkpoints that the libraries of their formats made: each is converted and compared, bit for bit, with what
 * the library itself makes of it. fixtures/formats/make_*.py made them.
 */
import { describe, expect, test } from "bun:test"
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import { runPlan } from "../../src/writer/run.ts"
import { verifyOutput } from "../../src/writer/verify.ts"
import { temporaryFolder } from "../support/checkpoints.ts"
import { readSafetensors } from "../support/reference.ts"
import { readTensors } from "../writer/fixture.ts"

const root = join(import.meta.dir, "..", "fixtures", "formats")
const names = readdirSync(root).filter((name) => existsSync(join(root, name, "checkpoint")))

describe.each(names)("%s", (name) => {
  const source = join(root, name, "checkpoint")

  test.each(["mmap", "pread", "direct"] as const)("converts to what the library makes of it, by %s", async (io) => {
    using folder = temporaryFolder()
    const plan = planConversion(await openCheckpoint(source))
    expect(plan.weightCount).toBeGreaterThan(0)
    await runPlan(plan, { output: folder.file("out"), verify: "full", io, threads: 2 })
    const found = readTensors(folder.file("out", "model.safetensors"))
    const expected = readSafetensors(join(root, name, "expected.safetensors"))
    expect([...found.keys()].sort()).toEqual([...expected.keys()].sort())
    for (const [tensor, { dtype, shape, bytes }] of expected) {
      const other = found.get(tensor)!
      expect([tensor, other.dtype, other.shape]).toEqual([tensor, dtype, shape])
      expect([tensor, Buffer.compare(other.bytes, bytes)]).toEqual([tensor, 0])
    }
    const report = await verifyOutput(folder.file("out"), { source, sample: "all" })
    expect(report.problems).toEqual([])
    expect(report.ok).toBe(true)
  })

  test("some of it left as it is stored", async () => {
    using folder = temporaryFolder()
    const checkpoint = await openCheckpoint(source)
    const [first] = planConversion(checkpoint).inventory.weights
    const plan = planConversion(checkpoint, { exclude: [first!.name] })
    expect(plan.keptWeights.map((weight) => weight.name)).toEqual([first!.name])
    await runPlan(plan, { output: folder.file("out") })
    const found = readTensors(folder.file("out", "model.safetensors"))
    for (const { tensor } of first!.sources) expect(found.get(tensor.name)?.dtype).toBe(tensor.dtype)
    const report = await verifyOutput(folder.file("out"), { source, sample: "all" })
    expect(report.problems).toEqual([])
    expect(report.ok).toBe(true)
  })
})
