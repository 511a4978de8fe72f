/** The part that ends last finishes the output, whoever that is, and however often it is killed at it. */
import { describe, expect, test } from "bun:test"
import { readdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { CheckError, UsageError } from "../../src/errors.ts"
import { partialName } from "../../src/writer/commit.ts"
import { finishParts } from "../../src/writer/finish.ts"
import { acquireLock } from "../../src/writer/lock.ts"
import { runPlan } from "../../src/writer/run.ts"
import type { RunOptions } from "../../src/writer/types.ts"
import { randomWords } from "../support/checkpoints.ts"
import { contents, plannedFolder } from "./fixture.ts"

const COUNT = 3

/** An input, what a single run gives, and a way to run a part that finishes if it is the last. */
async function parted(shardSize: number) {
  const input = await plannedFolder({ shardSize })
  const [whole, output] = [input.folder.file("whole"), input.folder.file("out")]
  await runPlan(input.plan, { output: whole })
  const run = async (index: number, changes: Partial<RunOptions> = {}) =>
    await runPlan(input.plan, { output, part: { index, count: COUNT }, finish: true, ...changes })
  const expectFinished = () => expect(contents(output)).toEqual(contents(whole))
  return { ...input, output, run, expectFinished, [Symbol.dispose]: () => input[Symbol.dispose]() }
}

describe("the last part", () => {
  test("finishes what one run gives", async () => {
    using input = await parted(20_000)
    for (const index of [2, 3]) expect((await input.run(index)).finished).toBeUndefined()
    const { finished } = await input.run(1)
    expect(finished).toMatchObject({ parts: COUNT, nonFinite: { count: 0 } })
    expect(finished!.bytesChecked).toBe(finished!.bytes)
    input.expectFinished()
    expect((await input.run(2, { resume: true })).wasComplete).toBe(true)
    expect((await finishParts(input.output)).parts).toBe(0)
    input.expectFinished()
  })

  test("is one of those that end at once", async () => {
    using input = await parted(20_000)
    for (let round = 0; round < 5; round += 1) {
      const reports = await Promise.all([1, 2, 3].map((index) => input.run(index)))
      expect(reports.filter(({ finished }) => finished !== undefined)).toHaveLength(1)
      input.expectFinished()
      rmSync(input.output, { recursive: true })
    }
  })

  test("waits for the output's lock, which others share until they have ended", async () => {
    using input = await parted(20_000)
    for (const index of [1, 2]) await input.run(index)
    const place = { kind: "folder" as const, path: input.output, folder: input.output }
    const other = await acquireLock(place, "shared")
    const last = input.run(3)
    setTimeout(() => void other.release(), 300)
    expect((await last).finished).toMatchObject({ parts: COUNT })
    input.expectFinished()
  })

  test("compares all files first, and names none where one is damaged", async () => {
    using input = await parted(20_000)
    for (const index of [1, 2]) await input.run(index)
    const damaged = readdirSync(input.output).find((name) => name.endsWith(".safetensors.partial"))!
    const path = join(input.output, damaged)
    const bytes = readFileSync(path)
    bytes[bytes.length - 1]! ^= 1
    await Bun.write(path, bytes)
    await expect(input.run(3)).rejects.toThrow(CheckError)
    expect(readdirSync(input.output)).toContain(partialName("model.safetensors.index.json"))
  })

  test("needs parts", async () => {
    using input = await parted(20_000)
    const run = runPlan(input.plan, { output: input.output, finish: true })
    await expect(run).rejects.toThrow(UsageError)
  })
})

test("a last part that is killed at random moments goes on where it was", async () => {
  using input = await parted(5000)
  const script = `
    const { openCheckpoint, planConversion, runPlan } = await import("./src/index.ts")
    const plan = planConversion(await openCheckpoint(${JSON.stringify(input.folder.file("in"))}), { shardSize: 5000 })
    console.log("ready")
    const part = { index: 3, count: ${COUNT} }
    await runPlan(plan, { output: ${JSON.stringify(input.output)}, part, finish: true, resume: true })
  `
  const next = randomWords(29)
  let killed = 0
  // Of a run that nobody disturbs, from the moment that it is ready on.
  let milliseconds = 0
  for (let round = 0; round < 5 || killed <= 3; round += 1) {
    for (const index of [1, 2]) await input.run(index)
    for (let attempt = 0; ; attempt += 1) {
      const child = Bun.spawn([process.execPath, "-e", script], {
        cwd: join(import.meta.dir, "../.."),
        stdio: ["ignore", "pipe", "inherit"],
      })
      await child.stdout.getReader().read()
      const began = performance.now()
      if (round > 0 && attempt < 6) {
        await Bun.sleep((milliseconds * (next() % 1000)) / 1000)
        child.kill("SIGKILL")
      }
      const status = await child.exited
      if (round === 0) milliseconds = performance.now() - began
      if (child.signalCode === null) {
        expect(status).toBe(0)
        break
      }
      killed += 1
    }
    input.expectFinished()
    rmSync(input.output, { recursive: true })
  }
  expect(killed).toBeGreaterThan(3)
}, 120_000)
