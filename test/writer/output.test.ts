/** Outputs that are refused, and outputs that are replaced. Whatever happens, what was there before stays as it was. */
import { describe, expect, test } from "bun:test"
import { linkSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { IoError, RefusedError, UsageError } from "../../src/errors.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import type { Plan } from "../../src/plan/plan.ts"
import { runPlan } from "../../src/writer/run.ts"
import { temporaryFolder, writeSafetensors } from "../support/checkpoints.ts"
import { denseTensors, gptOssTensors } from "../support/models.ts"
import { differences, expectedOutput } from "../support/reference.ts"
import { fingerprint, plannedFolder, readTensors, tiny, tree } from "./fixture.ts"

type ErrorClass = abstract new (...args: never[]) => Error

/** The run throws `type` with `message`, and nothing below `folder` has changed. */
async function expectRefused(
  folder: string,
  plan: Plan,
  output: string,
  type: ErrorClass,
  message: RegExp,
  force = true,
) {
  const before = fingerprint(folder)
  const run = runPlan(plan, { output, force })
  await expect(run).rejects.toThrow(type)
  await expect(run).rejects.toThrow(message)
  expect(fingerprint(folder)).toEqual(before)
}

describe("a folder in", () => {
  test("an output that exists", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    mkdirSync(folder.file("out"))
    writeFileSync(folder.file("out", "notes.txt"), "mine")
    await expectRefused(folder.path, plan, folder.file("out"), RefusedError, /out: exists and is not empty/, false)
  })

  test("an output that is a file", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    writeFileSync(folder.file("out"), "mine")
    await expectRefused(folder.path, plan, folder.file("out"), RefusedError, /exists and is no folder/)
  })

  test.each([
    ["by its path", "in", /is the input itself/],
    ["by another path", "in/../in/.", /is the input itself/],
    ["through a link", "link", /is the input itself/],
    ["inside the input", "in/out", /lies inside the input folder/],
    ["inside the input through a link", "link/out", /lies inside the input folder/],
  ])("the input %s", async (_, output, message) => {
    using input = await plannedFolder()
    const { folder, plan } = input
    symlinkSync(folder.file("in"), folder.file("link"))
    await expectRefused(folder.path, plan, folder.file(output), RefusedError, message)
  })

  test.each(["link", "symbolic link"])("an output file that is a source by a %s", async (kind) => {
    using input = await plannedFolder()
    const { folder, plan } = input
    mkdirSync(folder.file("out"))
    const name = "model-00001-of-00002.safetensors"
    const make = kind === "link" ? linkSync : symlinkSync
    make(folder.file("in", name), folder.file("out", name))
    await expectRefused(folder.path, plan, folder.file("out"), RefusedError, /is the input file/)
  })

  test("a link that leads nowhere", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    symlinkSync(folder.file("nowhere"), folder.file("out"))
    await expectRefused(folder.path, plan, folder.file("out"), RefusedError, /leads nowhere/)
  })

  test("a parent that is missing, or no folder", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    writeFileSync(folder.file("file"), "")
    await expectRefused(folder.path, plan, folder.file("a", "b"), IoError, /a: no such folder/)
    await expectRefused(folder.path, plan, folder.file("file", "b"), IoError, /is no folder|part of the path/)
    await expectRefused(folder.path, plan, "", UsageError, /no name/)
  })

  test("a device without room: both figures, before any work", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    const huge = { ...plan, bytesOut: 2 ** 52 }
    const message = /not enough space \(4\.50 PB \(4,503,599,627,370,496 bytes\) needed, .* bytes\) free\)/
    await expectRefused(folder.path, huge, folder.file("out"), IoError, message)
  })

  test("a folder where a file must go, even with force", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    mkdirSync(folder.file("out", "config.json"), { recursive: true })
    await expectRefused(folder.path, plan, folder.file("out"), RefusedError, /config\.json: is a folder/)
  })
})

describe("a file in", () => {
  async function plannedFile() {
    const folder = temporaryFolder()
    writeSafetensors(folder.file("in.safetensors"), denseTensors())
    const plan = planConversion(await openCheckpoint(folder.file("in.safetensors")))
    return { folder, plan, [Symbol.dispose]: () => folder[Symbol.dispose]() }
  }

  test("an output that exists", async () => {
    using input = await plannedFile()
    writeFileSync(input.folder.file("out"), "mine")
    await expectRefused(input.folder.path, input.plan, input.folder.file("out"), RefusedError, /out: exists/, false)
  })

  test.each([
    ["its own path", "in.safetensors"],
    ["a link", "hard"],
  ])("the input by %s", async (_, output) => {
    using input = await plannedFile()
    linkSync(input.folder.file("in.safetensors"), input.folder.file("hard"))
    await expectRefused(input.folder.path, input.plan, input.folder.file(output), RefusedError, /is the input file/)
  })

  test("a symbolic link, a folder, a device", async () => {
    using input = await plannedFile()
    const { folder, plan } = input
    symlinkSync(folder.file("in.safetensors"), folder.file("soft"))
    mkdirSync(folder.file("folder"))
    await expectRefused(folder.path, plan, folder.file("soft"), RefusedError, /is the input file|is a symbolic link/)
    await expectRefused(folder.path, plan, folder.file("folder"), RefusedError, /a file in gives a file out/)
    await expectRefused(folder.path, plan, "/dev/null", RefusedError, /is a device/)
  })

  test("force replaces an older file in one step", async () => {
    using input = await plannedFile()
    const { folder, plan } = input
    writeFileSync(folder.file("out.safetensors"), "old")
    await runPlan(plan, { output: folder.file("out.safetensors"), force: true })
    const expected = expectedOutput(denseTensors(), { to: "BF16" })
    expect(differences(readTensors(folder.file("out.safetensors")), expected)).toEqual([])
    expect(tree(folder.path)).toEqual(["in.safetensors", "out.safetensors"])
  })
})

describe("an output folder that may be used", () => {
  test("one that is empty, and one behind a link", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    mkdirSync(folder.file("disk"))
    symlinkSync(folder.file("disk"), folder.file("out"))
    const report = await runPlan(plan, { output: folder.file("out") })
    expect(report.output).toBe(folder.file("disk"))
    expect(tree(folder.file("disk"))).toEqual(report.files.toSorted())
  })

  test("force: the old shards and index go, files of the user stay", async () => {
    using input = await plannedFolder({ shardSize: 20_000 })
    const { folder, plan } = input
    const first = await runPlan(plan, { output: folder.file("out") })
    writeFileSync(folder.file("out", "notes.txt"), "mine")
    writeFileSync(folder.file("out", "other.safetensors"), "mine too")

    const single = planConversion(plan.checkpoint, { shardSize: "single" })
    const second = await runPlan(single, { output: folder.file("out"), force: true })
    expect(first.files.filter((name) => /^model-\d+-of-\d+\.safetensors$/.test(name)).length).toBeGreaterThan(3)
    expect(tree(folder.file("out"))).toEqual([...second.files, "notes.txt", "other.safetensors"].toSorted())
    rmSync(folder.file("out", "other.safetensors"))

    // Loaders look for model.safetensors first: left beside the new shards it would hide them.
    const third = await runPlan(plan, { output: folder.file("out"), force: true })
    expect(tree(folder.file("out"))).toEqual([...third.files, "notes.txt"].toSorted())
    expect(readFileSync(folder.file("out", "notes.txt"), "utf8")).toBe("mine")
    const expected = expectedOutput(gptOssTensors(tiny), { to: "BF16" })
    expect(differences(readTensors(folder.file("out")), expected)).toEqual([])
  })
})
