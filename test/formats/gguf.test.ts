/**
 * Models in GGUF, each written by gguf-py with blocks that ggml has quantized (test/fixtures/formats/make_gguf.py):
 * converted to both layouts, every tensor must have the name, form and bytes that the maker expects.
 */
import { describe, expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { copyFileSync, existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import type { PlanOptions } from "../../src/plan/plan.ts"
import { runPlan } from "../../src/writer/run.ts"
import { verifyOutput } from "../../src/writer/verify.ts"
import { type TemporaryFolder, temporaryFolder } from "../support/checkpoints.ts"

const fixtures = join(import.meta.dir, "..", "fixtures", "formats")
const models = readdirSync(fixtures).filter((name) => name.startsWith("gguf-"))

interface ExpectedTensor {
  readonly name: string
  readonly dtype: string
  readonly shape: readonly number[]
  readonly sha256: string
}

interface Expected {
  readonly raw: readonly ExpectedTensor[]
  readonly hf: readonly ExpectedTensor[]
}

function modelPath(model: string): string {
  return join(fixtures, model, "model.gguf")
}

function expectedOf(model: string): Expected {
  return JSON.parse(readFileSync(join(fixtures, model, "expected.json"), "utf8"))
}

/** What a safetensors file or folder holds, sorted by name; hashed from the file's own bytes. */
async function tensorsIn(path: string): Promise<ExpectedTensor[]> {
  const { tensors } = await openCheckpoint(path)
  return [...tensors.values()]
    .map(({ name, dtype, shape, file, offset, size }) => {
      const bytes = readFileSync(file.path).subarray(offset, offset + size)
      return { name, dtype, shape, sha256: createHash("sha256").update(bytes).digest("hex") }
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

async function convert(folder: TemporaryFolder, model: string, options: Partial<PlanOptions>, name = "out") {
  const output = folder.file(name)
  const kind = name.endsWith(".safetensors") ? "file" : "auto"
  const plan = planConversion(await openCheckpoint(modelPath(model)), { ...options, kind })
  await runPlan(plan, { output, verify: "full" })
  return { output, plan }
}

test("there are models", () => expect(models.length).toBeGreaterThan(10))

describe.each(models)("%s", (model) => {
  test.each(["raw", "hf", "auto"] as const)("--layout %s", async (layout) => {
    using folder = temporaryFolder()
    const { output } = await convert(folder, model, { layout })
    expect(await tensorsIn(output)).toEqual([...expectedOf(model)[layout === "raw" ? "raw" : "hf"]])
    expect(existsSync(join(output, "gguf-metadata.json"))).toBe(true)
    expect(existsSync(join(output, "config.json"))).toBe(layout !== "raw")
    const verified = await verifyOutput(output, { source: modelPath(model), sample: "all" })
    expect(verified).toMatchObject({ ok: true, problems: [], mismatchCount: 0 })
  })

  test("as one file", async () => {
    using folder = temporaryFolder()
    const { output } = await convert(folder, model, {}, "model.safetensors")
    expect(await tensorsIn(output)).toEqual([...expectedOf(model).hf])
    expect(readdirSync(folder.path)).toEqual(["model.safetensors"])
    expect(await verifyOutput(output, { source: modelPath(model) })).toMatchObject({ ok: true })
  })

  test("config.json", async () => {
    using folder = temporaryFolder()
    const { output, plan } = await convert(folder, model, { to: "F16" })
    expect(plan.inventory.notes).toEqual([])
    // As text: transformers tells 30.0 from 30.
    expect(readFileSync(join(output, "config.json"), "utf8")).toMatchSnapshot()
  })
})

describe("options", () => {
  test("all cast: norms and biases too, in the form of transformers", async () => {
    using folder = temporaryFolder()
    const { output, plan } = await convert(folder, "gguf-gemma2", { to: "F16", castAll: true })
    const tensors = await tensorsIn(output)
    expect(new Set(tensors.map(({ dtype }) => dtype))).toEqual(new Set(["F16"]))
    expect(plan.castCount).toBe(5)
    expect(await verifyOutput(output, { source: modelPath("gguf-gemma2"), sample: "all" })).toMatchObject({ ok: true })
  })

  test("a weight that would stay quantized cannot", async () => {
    const checkpoint = await openCheckpoint(modelPath("gguf-llama"))
    expect(() => planConversion(checkpoint, { exclude: ["*.q_proj.weight"] })).toThrow(
      /tensor "blk.0.attn_q.weight": cannot stay as it is: safetensors files have no Q4_0 tensors/,
    )
    // Dense tensors are in the output whatever is left out.
    expect(() => planConversion(checkpoint, { exclude: ["*norm.weight"] })).not.toThrow()
  })

  test("shards of a size", async () => {
    using folder = temporaryFolder()
    const { output } = await convert(folder, "gguf-llama", { shardSize: 20_000 })
    const names = readdirSync(output)
      .filter((name) => name.endsWith(".safetensors"))
      .sort()
    expect(names.length).toBeGreaterThan(1)
    expect(names[0]).toMatch(/^model-00001-of-0000\d.safetensors$/)
    expect(existsSync(join(output, "model.safetensors.index.json"))).toBe(true)
    expect(await tensorsIn(output)).toEqual([...expectedOf("gguf-llama").hf])
  })
})

describe("places", () => {
  test("a folder beside the file is fine; the file's own folder is not", async () => {
    using folder = temporaryFolder()
    copyFileSync(modelPath("gguf-llama"), folder.file("model.gguf"))
    const plan = planConversion(await openCheckpoint(folder.file("model.gguf")))
    await runPlan(plan, { output: folder.file("dense") })
    await expect(runPlan(plan, { output: folder.path, force: true })).rejects.toThrow(/is the folder of the input/)
    expect(readdirSync(folder.path).sort()).toEqual(["dense", "model.gguf"])
  })
})
