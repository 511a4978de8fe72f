/** The public API as a program that uses the package sees it: through src/index.ts alone. */
import { describe, expect, test } from "bun:test"
import { readdirSync } from "node:fs"
import * as api from "../../src/index.ts"
import { temporaryFolder } from "../support/checkpoints.ts"
import { gptOssTensors, writeGptOssFolder } from "../support/models.ts"
import { differences, expectedOutput } from "../support/reference.ts"
import { readTensors } from "../writer/fixture.ts"

const tiny = { layers: 1, experts: 2, hidden: 64, intermediate: 96, vocabulary: 8 }

test("what it exports", () => {
  expect(Object.keys(api).toSorted()).toEqual([
    "CancelledError",
    "CheckError",
    "DENSE_DTYPES",
    "DequantizerError",
    "ExitCode",
    "IoError",
    "MalformedError",
    "RefusedError",
    "UnsupportedError",
    "UsageError",
    "describeMismatch",
    "describePlan",
    "finishParts",
    "formatRows",
    "freeBytes",
    "loadMatrix",
    "machineInfo",
    "measurePlan",
    "openCheckpoint",
    "partOf",
    "planConversion",
    "runPlan",
    "selectLevel",
    "summarizePlan",
    "takeInventory",
    "verifyOutput",
  ])
})

test("open, take inventory, plan, measure, run, verify", async () => {
  using folder = temporaryFolder()
  writeGptOssFolder(folder.file("in"), tiny, 2)
  const checkpoint = await api.openCheckpoint(folder.file("in"))
  const inventory = api.takeInventory(checkpoint)
  expect(inventory.weights.map(({ name, scheme }) => [name, scheme])).toEqual([
    ["model.layers.0.mlp.experts.gate_up_proj", "mxfp4-gpt-oss"],
    ["model.layers.0.mlp.experts.down_proj", "mxfp4-gpt-oss"],
  ])
  const plan = api.planConversion(checkpoint, { to: "F32" })
  const summary = api.summarizePlan(plan, {
    measure: api.measurePlan(plan),
    freeBytes: await api.freeBytes(folder.path),
  })
  expect(summary).toMatchObject({ to: "F32", decoded: 2, cast: 0, kept: 0, bytesOut: plan.bytesOut, notes: [] })

  const phases = new Set<string>()
  const report = await api.runPlan(plan, {
    output: folder.file("out"),
    onProgress: ({ phase }) => phases.add(phase),
    signal: new AbortController().signal,
  })
  expect(report).toMatchObject({
    weights: 2,
    nonFinite: { count: 0, tensor: undefined },
    level: api.machineInfo().level,
  })
  expect([...phases]).toEqual(["convert", "verify", "finish"])
  expect(differences(readTensors(folder.file("out")), expectedOutput(gptOssTensors(tiny), { to: "F32" }))).toEqual([])

  const verified = await api.verifyOutput(folder.file("out"), { source: folder.file("in"), sample: "all" })
  expect(verified).toMatchObject({ ok: true, problems: [] })
})

describe("every level of this machine gives the same bytes", () => {
  const { level: best, levels } = api.machineInfo()
  const supported = levels.filter((level) => level.supported).map((level) => level.name)

  test.each(supported)("%s", async (level) => {
    using folder = temporaryFolder()
    writeGptOssFolder(folder.file("in"), { ...tiny, wildScales: true }, 2)
    const checkpoint = await api.openCheckpoint(folder.file("in"))
    api.selectLevel(level)
    try {
      const report = await api.runPlan(api.planConversion(checkpoint, { to: "F16" }), { output: folder.file("out") })
      expect(report.level).toBe(level)
    } finally {
      api.selectLevel(best)
    }
    const expected = expectedOutput(gptOssTensors({ ...tiny, wildScales: true }), { to: "F16" })
    expect(differences(readTensors(folder.file("out")), expected)).toEqual([])
  })
})

test("errors carry an exit code, one line, and a way on", async () => {
  using folder = temporaryFolder()
  writeGptOssFolder(folder.file("in"), tiny, 2)
  const plan = api.planConversion(await api.openCheckpoint(folder.file("in")))
  const error = await api.runPlan(plan, { output: folder.file("in") }).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(api.DequantizerError)
  expect(error).toMatchObject({ name: "RefusedError", exitCode: api.ExitCode.refused, hint: "name another folder" })
  expect(String(error)).not.toContain("\n")
})

test("a hundred runs in one process leave no file descriptor open", async () => {
  using folder = temporaryFolder()
  writeGptOssFolder(folder.file("in"), { ...tiny, experts: 1, hidden: 32, intermediate: 32 }, 1)
  const plan = api.planConversion(await api.openCheckpoint(folder.file("in")))
  const run = () => api.runPlan(plan, { output: folder.file("out"), force: true, threads: 1 })
  for (let i = 0; i < 20; i += 1) await run()
  Bun.gc(true)
  const [descriptors, memory] = [openDescriptors(), process.memoryUsage().rss]
  for (let i = 0; i < 100; i += 1) await run()
  Bun.gc(true)
  expect(openDescriptors()).toBeLessThanOrEqual(descriptors)
  expect(process.memoryUsage().rss - memory).toBeLessThan(64 * 2 ** 20)
}, 60_000)

function openDescriptors(): number {
  return readdirSync("/proc/self/fd").length
}
