/** Whole conversions, compared with the reference decoder in every element. */
import { describe, expect, test } from "bun:test"
import { readFileSync, statSync, watch } from "node:fs"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import type { PlanOptions } from "../../src/plan/plan.ts"
import { runPlan } from "../../src/writer/run.ts"
import type { RunProgress } from "../../src/writer/types.ts"
import { type TensorInput, temporaryFolder, writeCheckpointFolder, writeSafetensors } from "../support/checkpoints.ts"
import {
  compressedTensorsConfig,
  compressedTensorsTensors,
  denseTensors,
  gptOssOriginalTensors,
  gptOssTensors,
} from "../support/models.ts"
import { differences, expectedOutput } from "../support/reference.ts"
import { plannedFolder, readTensors, tiny, tree } from "./fixture.ts"

const models: readonly [name: string, tensors: readonly TensorInput[]][] = [
  ["gpt-oss, Hub names", gptOssTensors(tiny)],
  ["gpt-oss, every scale", gptOssTensors({ ...tiny, wildScales: true })],
  ["gpt-oss, original names, every scale", gptOssOriginalTensors({ ...tiny, wildScales: true })],
  ["compressed-tensors", compressedTensorsTensors(tiny)],
  ["dense", denseTensors()],
]

const variants: readonly Partial<PlanOptions>[] = [
  { to: "BF16" },
  { to: "F16" },
  { to: "F32" },
  { to: "BF16", layout: "raw" },
  { to: "F16", castAll: true },
  { to: "BF16", castAll: true },
  { to: "F32", castAll: true },
]

describe.each(models)("%s", (_, tensors) => {
  test.each(variants)("file to file with %p", async (options) => {
    using folder = temporaryFolder()
    writeSafetensors(folder.file("in.safetensors"), tensors)
    const plan = planConversion(await openCheckpoint(folder.file("in.safetensors")), options)
    const report = await runPlan(plan, { output: folder.file("out.safetensors"), verify: "full" })
    const expected = expectedOutput(tensors, {
      to: options.to!,
      castAll: options.castAll ?? false,
      raw: options.layout === "raw",
    })
    expect(differences(readTensors(folder.file("out.safetensors")), expected)).toEqual([])
    expect(report.verified?.elementsCompared).toBe(report.verified!.elementsTotal)
    expect(report.bytesWritten).toBe(statSync(folder.file("out.safetensors")).size)
    expect(tree(folder.path)).toEqual(["in.safetensors", "out.safetensors"])
  })
})

describe("folder to folder", () => {
  test.each(["keep", "single", 20_000] as const)("shards: %p", async (shardSize) => {
    using input = await plannedFolder({ shardSize })
    const { folder, plan } = input
    const report = await runPlan(plan, { output: folder.file("out") })
    const expected = expectedOutput(gptOssTensors(tiny), { to: "BF16" })
    expect(differences(readTensors(folder.file("out")), expected)).toEqual([])
    expect(report.files.toSorted()).toEqual(tree(folder.file("out")))
    if (shardSize !== "single") {
      const index = JSON.parse(readFileSync(folder.file("out", "model.safetensors.index.json"), "utf8"))
      expect(Object.keys(index.weight_map).toSorted()).toEqual([...expected.keys()].toSorted())
    }
    const again = await openCheckpoint(folder.file("out"))
    expect(again.declared).toBeUndefined()
    expect(again.tensors.size).toBe(expected.size)
  })

  test("side files, config and modes", async () => {
    using folder = temporaryFolder()
    const large = new Uint8Array(9 * 2 ** 20).map((_, i) => i % 251)
    writeCheckpointFolder(folder.file("in"), {
      shards: { "model.safetensors": compressedTensorsTensors(tiny) },
      config: compressedTensorsConfig(),
      files: {
        "tokenizer.json": large,
        "empty.txt": "",
        "assets/deep/logo.svg": "<svg/>",
        "quantize_config.json": "{}",
        "README.md": "# é\r\n",
      },
    })
    const plan = planConversion(await openCheckpoint(folder.file("in")))
    const report = await runPlan(plan, { output: folder.file("out") })
    expect(tree(folder.file("out"))).toEqual([
      "README.md",
      "assets/",
      "assets/deep/",
      "assets/deep/logo.svg",
      "config.json",
      "empty.txt",
      "model.safetensors",
      "tokenizer.json",
    ])
    for (const name of ["README.md", "assets/deep/logo.svg", "empty.txt", "tokenizer.json"]) {
      expect(Buffer.compare(readFileSync(folder.file("out", name)), readFileSync(folder.file("in", name)))).toBe(0)
    }
    const config = JSON.parse(readFileSync(folder.file("out", "config.json"), "utf8"))
    expect(config).toEqual({ ...compressedTensorsConfig(), dtype: "bfloat16", quantization_config: undefined })
    const umask = process.umask()
    for (const name of report.files) {
      expect([name, statSync(folder.file("out", name)).mode & 0o777]).toEqual([name, 0o644 & ~umask])
    }
    const sizes = report.files.map((name) => statSync(folder.file("out", name)).size)
    expect(report.bytesWritten).toBe(sizes.reduce((a, b) => a + b, 0))
  })

  test("a mapped and a read source, one thread and several, give the same bytes", async () => {
    using input = await plannedFolder({ to: "F32" }, { ...tiny, hidden: 160, intermediate: 224 })
    const { folder, plan } = input
    const outputs = ["a", "b", "c"].map((name) => folder.file(name))
    await runPlan(plan, { output: outputs[0]!, io: "mmap", threads: 1 })
    await runPlan(plan, { output: outputs[1]!, io: "pread", threads: 2 })
    await runPlan(plan, { output: outputs[2]!, io: "pread", threads: 1, maxMemory: 16 * 2 ** 20, verify: "none" })
    const [first, ...others] = outputs.map((output) =>
      tree(output).map((name) => [name, Bun.hash(readFileSync(`${output}/${name}`))]),
    )
    for (const other of others) expect(other).toEqual(first!)
  })

  test("files get their names in order, the index last", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    const named: string[] = []
    const { mkdirSync } = await import("node:fs")
    mkdirSync(folder.file("out"))
    const watcher = watch(folder.file("out"), (_, name) => {
      if (name !== null && !/partial$|lock$|journal$/.test(name) && named.at(-1) !== name) named.push(name)
    })
    const report = await runPlan(plan, { output: folder.file("out") })
    while (named.length < report.files.length) await Bun.sleep(5)
    watcher.close()
    expect(named).toEqual([...report.files])
    expect(named.at(-1)).toBe("model.safetensors.index.json")
    expect(named.indexOf("config.json")).toBeLessThan(named.indexOf("model-00000-of-00002.safetensors"))
  })

  test("progress goes through its phases and never back", async () => {
    using input = await plannedFolder()
    const seen: RunProgress[] = []
    await runPlan(input.plan, { output: input.folder.file("out"), onProgress: (progress) => seen.push(progress) })
    const phases = seen.map(({ phase }) => phase).filter((phase, i, all) => phase !== all[i - 1])
    expect(phases).toEqual(["convert", "verify", "finish"])
    for (const phase of phases) {
      const steps = seen.filter((progress) => progress.phase === phase)
      expect(steps.every(({ bytesDone }, i) => bytesDone >= (steps[i - 1]?.bytesDone ?? 0))).toBe(true)
      expect(steps.at(-1)!.bytesDone).toBe(steps.at(-1)!.bytesTotal)
    }
    const names = new Set(input.plan.shards.flatMap((shard) => shard.tensors.map(({ name }) => name)))
    for (const { tensor } of seen) expect(tensor === undefined || names.has(tensor)).toBe(true)
  })
})

test.each([
  ["no tensor", []],
  ["empty tensors only", denseTensors().filter(({ bytes }) => bytes.length === 0)],
])("a file with %s", async (_, tensors) => {
  using folder = temporaryFolder()
  writeSafetensors(folder.file("in.safetensors"), tensors)
  const plan = planConversion(await openCheckpoint(folder.file("in.safetensors")))
  const report = await runPlan(plan, { output: folder.file("out.safetensors"), verify: "full" })
  expect(readTensors(folder.file("out.safetensors")).size).toBe(tensors.length)
  expect(report).toMatchObject({ weights: 0, verified: { ok: true, elementsCompared: 0 } })
})

test("results that are not finite are counted, with the first tensor that has one", async () => {
  using folder = temporaryFolder()
  const tensors = gptOssTensors({ ...tiny, wildScales: true })
  writeSafetensors(folder.file("in.safetensors"), tensors)
  const checkpoint = await openCheckpoint(folder.file("in.safetensors"))
  const report = await runPlan(planConversion(checkpoint, { to: "F16" }), { output: folder.file("out.safetensors") })
  const values = [...expectedOutput(tensors, { to: "F16" }).values()].flatMap(({ content }) =>
    "values" in content ? content.values : [],
  )
  // 65520 is the first number that rounds to infinity in F16.
  expect(report.nonFinite.count).toBe(values.filter((value) => !(Math.abs(value) < 65520)).length)
  expect(report.nonFinite.tensor).toMatch(/experts\.(gate_up|down)_proj$/)
})
