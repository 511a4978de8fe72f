/** What verify finds, and what it takes for what it is. */
import { describe, expect, test } from "bun:test"
import { readFileSync, truncateSync, writeFileSync } from "node:fs"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { MalformedError, UsageError } from "../../src/errors.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import type { PlanOptions } from "../../src/plan/plan.ts"
import { describeMismatch } from "../../src/writer/compare.ts"
import { runPlan } from "../../src/writer/run.ts"
import { verifyOutput } from "../../src/writer/verify.ts"
import { randomWords, type TensorInput, temporaryFolder, writeSafetensors } from "../support/checkpoints.ts"
import { compressedTensorsTensors, denseTensors, gptOssOriginalTensors, gptOssTensors } from "../support/models.ts"
import { readSafetensors } from "../support/reference.ts"
import { plannedFolder, tiny } from "./fixture.ts"

/** Converts a file; returns both paths. */
async function converted(tensors: readonly TensorInput[], options: Partial<PlanOptions> = {}) {
  const folder = temporaryFolder()
  const [source, output] = [folder.file("in.safetensors"), folder.file("out.safetensors")]
  writeSafetensors(source, tensors)
  await runPlan(planConversion(await openCheckpoint(source), options), { output, verify: "none" })
  return { source, output, [Symbol.dispose]: () => folder[Symbol.dispose]() }
}

/** Writes the output's tensors again, changed. */
function rewrite(output: string, change: (tensors: TensorInput[]) => TensorInput[]): void {
  const tensors = [...readSafetensors(output)].map(([name, tensor]) => ({
    name,
    ...tensor,
    bytes: new Uint8Array(tensor.bytes),
  }))
  writeSafetensors(output, change(tensors))
}

describe("an output that is right, whatever its options were", () => {
  const square = { ...tiny, intermediate: 32, hidden: 64 }
  test.each([
    ["as it comes", gptOssTensors(tiny), {}],
    ["F16", gptOssTensors({ ...tiny, wildScales: true }), { to: "F16" }],
    ["F32, raw", gptOssTensors(tiny), { to: "F32", layout: "raw" }],
    ["original names", gptOssOriginalTensors(tiny), {}],
    ["all cast", gptOssTensors(tiny), { to: "F16", castAll: true }],
    ["some cast", gptOssTensors(tiny), { to: "F16", castAll: true, exclude: ["*norm*", "lm_head.*"] }],
    ["some left quantized", gptOssTensors(tiny), { exclude: ["model.layers.1.*"] }],
    ["all left quantized", gptOssTensors(tiny), { exclude: ["**"] }],
    ["square experts, transposed", gptOssTensors(square).filter(isSquare), { layout: "auto" }],
    ["square experts, as stored", gptOssTensors(square).filter(isSquare), { layout: "raw" }],
    ["compressed-tensors", compressedTensorsTensors(tiny), { to: "F32" }],
    ["dense", denseTensors(), {}],
    ["dense, cast to F32", denseTensors(), { to: "F32", castAll: true }],
    ["dense, cast to BF16", denseTensors(), { to: "BF16", castAll: true }],
  ] as const)("%s", async (_, tensors, options) => {
    using pair = await converted(tensors, options as Partial<PlanOptions>)
    const report = await verifyOutput(pair.output, { source: pair.source, sample: "all" })
    expect(report).toMatchObject({ ok: true, problems: [], mismatchCount: 0, first: undefined })
    expect(report.elementsCompared).toBe(report.elementsTotal)
    expect(report.tensors).toBe(readSafetensors(pair.output).size)
  })

  test("a folder, sampled", async () => {
    using input = await plannedFolder({ shardSize: 20_000 })
    const output = input.folder.file("out")
    await runPlan(input.plan, { output })
    const report = await verifyOutput(output, { source: input.folder.file("in") })
    expect(report).toMatchObject({ ok: true, problems: [] })
    expect(report.elementsCompared).toBeGreaterThan(0)
  })
})

/** With hidden = 2 · intermediate gate_up is square, and the only experts that are left are. */
function isSquare({ name }: TensorInput): boolean {
  return !name.includes("down_proj")
}

describe("a value that is wrong", () => {
  test.each([
    ["decoded", "model.layers.1.mlp.experts.gate_up_proj", { to: "F32" }, 4, "F32"],
    ["copied", "model.norm.weight", {}, 1, "bytes"],
    ["cast", "model.norm.weight", { to: "F16", castAll: true }, 2, "F16"],
  ] as const)("%s: tensor, index, both values", async (_, name, options, width, dtype) => {
    using pair = await converted(gptOssTensors(tiny), options)
    const position = 37 * width
    rewrite(pair.output, (tensors) => {
      tensors.find((tensor) => tensor.name === name)!.bytes[position]! ^= 0x10
      return tensors
    })
    const report = await verifyOutput(pair.output, { source: pair.source, sample: "all" })
    expect(report).toMatchObject({ ok: false, problems: [], mismatchCount: 1 })
    const { first } = report
    expect(first).toMatchObject({ tensor: name, index: 37, dtype })
    expect(first!.found ^ first!.expected).toBe(0x10)
    expect(describeMismatch(first!, 1)).toMatch(
      new RegExp(`^tensor "${name}": (byte|element) 37 differs \\(expected 0x`),
    )
  })

  test("each of 200 flipped bits is found, in the tensor that has it", async () => {
    using pair = await converted(gptOssTensors({ ...tiny, layers: 1 }))
    const right = readFileSync(pair.output)
    const start = 8 + Number(right.readBigUInt64LE(0))
    const next = randomWords(11)
    for (let i = 0; i < 200; i += 1) {
      const position = start + (next() % (right.length - start))
      const wrong = Uint8Array.from(right)
      wrong[position]! ^= 1 << (next() % 8)
      writeFileSync(pair.output, wrong)
      const report = await verifyOutput(pair.output, { source: pair.source, sample: "all" })
      expect(report.ok).toBe(false)
      expect(report.mismatchCount).toBe(1)
      const bytes = readSafetensors(pair.output).get(report.first!.tensor)!.bytes
      expect(bytes.byteOffset).toBeLessThanOrEqual(position)
      expect(bytes.byteOffset + bytes.byteLength).toBeGreaterThan(position)
    }
  })
})

describe("tensors that differ before any value is looked at", () => {
  const down = "model.layers.0.mlp.experts.down_proj"
  const changes: [string, (tensors: TensorInput[]) => TensorInput[], RegExp][] = [
    ["one is missing", (tensors) => tensors.filter(({ name }) => name !== down), /"[^"]*down_proj" is missing/],
    [
      "one is too many",
      (tensors) => [...tensors, { ...tensors[0]!, name: "extra" }],
      /tensor "extra" is not in the source/,
    ],
    [
      "one has another dtype",
      (tensors) => tensors.map((tensor) => (tensor.name === down ? { ...tensor, dtype: "F16" } : tensor)),
      /down_proj" has another form \(expected BF16 \[3, 96, 64\], found F16 \[3, 96, 64\]\)/,
    ],
    [
      "one has another shape",
      (tensors) => tensors.map((tensor) => (tensor.name === down ? { ...tensor, shape: [3, 64, 96] } : tensor)),
      /down_proj" has another form \(expected BF16 \[3, 96, 64\], found BF16 \[3, 64, 96\]\)/,
    ],
  ]
  test.each(changes)("%s", async (_, change, sentence) => {
    using pair = await converted(gptOssTensors(tiny))
    rewrite(pair.output, change)
    const report = await verifyOutput(pair.output, { source: pair.source })
    expect(report).toMatchObject({ ok: false, mismatchCount: 0, elementsCompared: 0 })
    expect(report.problems).toEqual([expect.stringMatching(sentence)])
  })

  test("another model altogether: ten sentences and the number of the rest", async () => {
    using pair = await converted(gptOssTensors(tiny))
    writeSafetensors(pair.output, denseTensors())
    const { problems } = await verifyOutput(pair.output, { source: pair.source })
    expect(problems.length).toBe(11)
    expect(problems.at(-1)).toMatch(/^and \d+ more differences$/)
  })

  test("the config still declares what is gone", async () => {
    using input = await plannedFolder()
    const output = input.folder.file("out")
    await runPlan(input.plan, { output })
    writeFileSync(`${output}/config.json`, readFileSync(input.folder.file("in", "config.json")))
    const sentence = "config.json declares quantization_config, and no tensor is quantized"
    expect((await verifyOutput(output, { source: input.folder.file("in") })).problems).toEqual([sentence])
    expect((await verifyOutput(output)).problems).toEqual([
      'config.json: quantization_config declares "mxfp4"; every tensor is dense',
    ])
  })
})

describe("without a source", () => {
  test("a whole output, and one that is cut off", async () => {
    using pair = await converted(gptOssTensors(tiny))
    expect(await verifyOutput(pair.output)).toMatchObject({ ok: true, problems: [], elementsCompared: 0 })
    truncateSync(pair.output, 5000)
    await expect(verifyOutput(pair.output)).rejects.toThrow(MalformedError)
  })
})

test.each([0, -1, 1.5, Number.NaN])("a sample of %p tiles is a usage error", async (sample) => {
  await expect(verifyOutput("/nowhere", { sample })).rejects.toThrow(UsageError)
})
