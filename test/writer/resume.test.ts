/** Runs that go on with what an earlier one has left, and those that must not. */
import { describe, expect, test } from "bun:test"
import { createHash } from "node:crypto"
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs"
import { join } from "node:path"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { CancelledError, CheckError, IoError, RefusedError, UsageError } from "../../src/errors.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import type { Plan, PlanOptions } from "../../src/plan/plan.ts"
import { partialName } from "../../src/writer/commit.ts"
import { journalName } from "../../src/writer/journal.ts"
import { lockName } from "../../src/writer/lock.ts"
import { runPlan } from "../../src/writer/run.ts"
import type { ConversionReport, RunOptions } from "../../src/writer/types.ts"
import { temporaryFolder, writeSafetensors } from "../support/checkpoints.ts"
import { gptOssTensors } from "../support/models.ts"
import { fingerprint, plannedFolder, tiny, tree } from "./fixture.ts"

const SHARD_SIZE = 20_000

/** Name and SHA-256 of each file. */
function contents(folder: string): string[] {
  return tree(folder)
    .filter((name) => !name.endsWith("/"))
    .map(
      (name) =>
        `${name} ${createHash("sha256")
          .update(readFileSync(join(folder, name)))
          .digest("hex")}`,
    )
}

const journalOf = (output: string) => journalName({ kind: "folder", path: output, folder: output })

/** A run that is cancelled when all shards are written, so that it leaves them. */
async function leave(plan: Plan, output: string, options: Partial<RunOptions> = {}): Promise<void> {
  const controller = new AbortController()
  const onProgress = ({ phase }: { phase: string }) => {
    if (phase === "verify") controller.abort(new CancelledError("SIGTERM"))
  }
  const run = runPlan(plan, { output, resume: true, signal: controller.signal, onProgress, ...options })
  await expect(run).rejects.toThrow(CancelledError)
}

/** An input, its plan, what a run of it gives, and a folder with what a cancelled run has left. */
async function leftBehind(options: Partial<PlanOptions> = { shardSize: SHARD_SIZE }) {
  const input = await plannedFolder(options)
  const whole = input.folder.file("whole")
  await runPlan(input.plan, { output: whole })
  const output = input.folder.file("out")
  await leave(input.plan, output)
  const { shards } = input.plan
  const resume = async (more: Partial<RunOptions> = {}): Promise<ConversionReport> => {
    const report = await runPlan(input.plan, { output, resume: true, ...more })
    expect(contents(output)).toEqual(contents(whole))
    return report
  }
  return { ...input, whole, output, shards, resume, [Symbol.dispose]: () => input[Symbol.dispose]() }
}

describe("what a run leaves", () => {
  test("with --resume: its finished shards and a journal, under names of its own", async () => {
    using left = await leftBehind()
    const expected = [journalOf(left.output), ...left.shards.map(({ name }) => partialName(name))]
    expect(readdirSync(left.output).toSorted()).toEqual(expected.toSorted())
    expect(left.shards.length).toBeGreaterThan(5)
  })

  test("without it: nothing", async () => {
    using input = await plannedFolder()
    await leave(input.plan, input.folder.file("out"), { resume: false })
    expect(readdirSync(input.folder.path)).toEqual(["in"])
  })

  test("nothing either where the input, or the output, is at fault", async () => {
    using folder = temporaryFolder()
    writeSafetensors(folder.file("in.safetensors"), gptOssTensors({ ...tiny, wildScales: true }))
    const plan = planConversion(await openCheckpoint(folder.file("in.safetensors")))
    const run = runPlan(plan, { output: folder.file("out.safetensors"), resume: true, nonFinite: "error" })
    await expect(run).rejects.toThrow(CheckError)
    expect(readdirSync(folder.path)).toEqual(["in.safetensors"])
  })
})

describe("going on", () => {
  test("all shards are kept, and the output is that of one run", async () => {
    using left = await leftBehind()
    expect(await left.resume()).toMatchObject({ resumed: left.shards.length, bytesRead: 0 })
    expect(readdirSync(left.folder.path).toSorted()).toEqual(["in", "out", "whole"])
  })

  test("a file", async () => {
    using folder = temporaryFolder()
    writeSafetensors(folder.file("in.safetensors"), gptOssTensors({ ...tiny, wildScales: true }))
    const plan = planConversion(await openCheckpoint(folder.file("in.safetensors")))
    const whole = await runPlan(plan, { output: folder.file("whole") })
    await leave(plan, folder.file("out"))
    const report = await runPlan(plan, { output: folder.file("out"), resume: true })
    expect(report).toMatchObject({ resumed: 1, nonFinite: whole.nonFinite })
    expect(whole.nonFinite.count).toBeGreaterThan(0)
    expect(readFileSync(folder.file("out"))).toEqual(readFileSync(folder.file("whole")))
    expect(readdirSync(folder.path).toSorted()).toEqual(["in.safetensors", "out", "whole"])
  })

  test("where there is nothing to go on with it is a run like any other", async () => {
    using input = await plannedFolder()
    expect((await runPlan(input.plan, { output: input.folder.file("out"), resume: true })).resumed).toBe(0)
  })

  test("a run without --resume starts over", async () => {
    using left = await leftBehind()
    expect((await left.resume({ resume: false })).resumed).toBe(0)
    expect(tree(left.folder.path).filter((name) => name.includes("dequantizer"))).toEqual([])
  })

  test("also with other options", async () => {
    using left = await leftBehind()
    const plan = planConversion(await openCheckpoint(left.folder.file("in")), { shardSize: "single" })
    await runPlan(plan, { output: left.output })
    expect(readdirSync(left.output)).not.toContain(partialName(left.shards[0]!.name))
  })

  test("several interruptions in a row", async () => {
    using left = await leftBehind()
    for (let i = 0; i < 3; i += 1) await leave(left.plan, left.output)
    expect((await left.resume()).resumed).toBe(left.shards.length)
  })

  test("the replacement of an older output", async () => {
    using left = await leftBehind()
    rmSync(left.output, { recursive: true })
    const other = planConversion(await openCheckpoint(left.folder.file("in")), { to: "F32" })
    await runPlan(other, { output: left.output })
    const before = fingerprint(left.output)
    const child = Bun.spawn([process.execPath, join(import.meta.dir, "killed.ts"), left.folder.file("in"), left.output])
    await child.exited
    expect(child.signalCode).toBe("SIGKILL")
    expect(fingerprint(left.output)).toEqual(expect.arrayContaining(before))
    expect((await left.resume()).resumed).toBe(left.shards.length)
  })
})

describe("an output that is complete, without a journal", () => {
  test("of the same plan, is looked at and stays", async () => {
    using left = await leftBehind()
    await left.resume({ manifest: false })
    const before = fingerprint(left.output)
    const report = await left.resume()
    expect(report).toMatchObject({ wasComplete: true, resumed: left.shards.length, bytesRead: 0 })
    expect(report.verified).toMatchObject({ ok: true })
    expect(fingerprint(left.output)).toEqual(before)
  })

  test("with the lock of a run that was killed after its last note", async () => {
    using left = await leftBehind()
    await left.resume()
    const lock = join(left.output, lockName({ kind: "folder", path: left.output, folder: left.output }))
    writeFileSync(lock, '{"pid":1,"host":"a"}')
    expect((await left.resume()).wasComplete).toBe(true)
    expect(tree(left.folder.path).filter((name) => name.includes("dequantizer"))).toEqual([])
  })

  test("with its manifest; a file", async () => {
    using input = await plannedFolder()
    const options = { output: input.folder.file("out"), manifest: true }
    await runPlan(input.plan, options)
    expect((await runPlan(input.plan, { ...options, resume: true })).wasComplete).toBe(true)
    using folder = temporaryFolder()
    writeSafetensors(folder.file("in.safetensors"), gptOssTensors(tiny))
    const plan = planConversion(await openCheckpoint(folder.file("in.safetensors")))
    await runPlan(plan, { output: folder.file("out.safetensors") })
    expect((await runPlan(plan, { output: folder.file("out.safetensors"), resume: true })).wasComplete).toBe(true)
    expect(readdirSync(folder.path).toSorted()).toEqual(["in.safetensors", "out.safetensors"])
  })

  test("with a value that differs is a fault of its check, whatever --verify says", async () => {
    using left = await leftBehind()
    await left.resume()
    const path = join(left.output, left.shards[0]!.name)
    flipBit(path, left.shards[0]!.head.length)
    const before = fingerprint(left.output)
    await expect(runPlan(left.plan, { output: left.output, resume: true, verify: "none" })).rejects.toThrow(CheckError)
    expect(fingerprint(left.output)).toEqual(before)
  })
})

describe("shards that are not what the journal says are made again", () => {
  const damages: readonly [string, (path: string) => void][] = [
    ["a bit differs", (path) => flipBit(path, 5000)],
    ["cut off", (path) => truncateSync(path, 5000)],
    ["gone", (path) => rmSync(path)],
    [
      "a link to a good one",
      (path) => {
        const outside = join(path, "../../outside")
        renameSync(path, outside)
        symlinkSync(outside, path)
      },
    ],
  ]
  test.each(damages)("%s", async (_, damage) => {
    using left = await leftBehind()
    const path = join(left.output, partialName(left.shards[2]!.name))
    damage(path)
    const report = await runPlan(left.plan, { output: left.output, resume: true })
    expect(report.resumed).toBe(left.shards.length - 1)
    expect(contents(left.output)).toEqual(contents(left.whole))
  })

  test("a journal that ends in the middle of a line, or is no journal", async () => {
    for (const cut of [1, 40, 300]) {
      using left = await leftBehind()
      const path = join(left.output, journalOf(left.output))
      const text = readFileSync(path)
      truncateSync(path, text.length - cut)
      expect((await left.resume()).resumed).toBe(left.shards.length - Math.ceil(cut / 110))
    }
    for (const text of ["", "\n", "x\n", "{}\n", '{"begin":1}\n', "[]"]) {
      using left = await leftBehind()
      writeFileSync(join(left.output, journalOf(left.output)), text)
      expect((await left.resume()).resumed).toBe(0)
    }
  })

  test("and what is noted behind a torn line is read the next time", async () => {
    using left = await leftBehind()
    const path = join(left.output, journalOf(left.output))
    truncateSync(path, readFileSync(path).length - 40)
    await leave(left.plan, left.output)
    expect((await left.resume()).resumed).toBe(left.shards.length)
  })

  test("names that lead out of the folder are not followed", async () => {
    using left = await leftBehind()
    const path = join(left.output, journalOf(left.output))
    const [first = ""] = readFileSync(path, "utf8").split("\n")
    const hostile = { ...JSON.parse(first), names: ["../in/config.json", "/etc/passwd", "a/../../in/x"] }
    writeFileSync(left.folder.file("in", "config.json.partial"), "stays")
    writeFileSync(
      path,
      `${JSON.stringify(hostile)}\n${JSON.stringify({ commit: [["../in/config.json", "1", "1"]] })}\n`,
    )
    await runPlan(left.plan, { output: left.output, resume: true })
    expect(readFileSync(left.folder.file("in", "config.json.partial"), "utf8")).toBe("stays")
  })
})

describe("refused, with what differs, and nothing touched", () => {
  async function expectRefused(left: Awaited<ReturnType<typeof leftBehind>>, plan: Plan, says: RegExp, more = {}) {
    const before = fingerprint(left.output)
    const run = runPlan(plan, { output: left.output, resume: true, ...more })
    await expect(run).rejects.toThrow(RefusedError)
    await expect(run).rejects.toThrow(says)
    expect(fingerprint(left.output)).toEqual(before)
  }
  const replan = async (left: Awaited<ReturnType<typeof leftBehind>>, options: Partial<PlanOptions> = {}) =>
    planConversion(await openCheckpoint(left.folder.file("in")), { shardSize: SHARD_SIZE, ...options })

  test.each([
    [{ to: "F16" }, /--to differs \(expected "BF16", found "F16"\)/],
    [{ layout: "raw" }, /--layout differs/],
    [{ exclude: ["*.0.*"] }, /--exclude differs \(expected "", found "\*\.0\.\*"\)/],
    [{ castAll: true }, /--cast-all differs/],
    [{ shardSize: 30_000 }, /--shard-size differs \(expected "20000", found "30000"\)/],
  ] as const)("options %j", async (options, says) => {
    using left = await leftBehind()
    await expectRefused(left, await replan(left, options), says)
  })

  test("another way with results that are not finite", async () => {
    using left = await leftBehind()
    await expectRefused(left, left.plan, /--non-finite differs/, { nonFinite: "allow" })
  })

  test("another version", async () => {
    using left = await leftBehind()
    const path = join(left.output, journalOf(left.output))
    writeFileSync(path, readFileSync(path, "utf8").replace(/"version":"[^"]*"/, '"version":"0.0.1"'))
    await expectRefused(left, left.plan, /cannot be resumed: it was begun by version 0\.0\.1, and this is/)
  })

  test("a source that was written to, or has another header, or is another file", async () => {
    using left = await leftBehind()
    const { path, name } = left.plan.checkpoint.shards[0]!.file
    utimesSync(path, 1, 1)
    await expectRefused(left, await replan(left), new RegExp(`source "${name}" has changed: it was written to since`))
    const bytes = readFileSync(path)
    bytes[bytes.indexOf('"pt"') + 1] = 0x71
    writeFileSync(path, bytes)
    await expectRefused(left, await replan(left), /has changed: its header differs/)
  })

  test("another config.json", async () => {
    using left = await leftBehind()
    const path = left.folder.file("in", "config.json")
    writeFileSync(path, readFileSync(path, "utf8").replace("{", '{"more": 1,'))
    await expectRefused(left, await replan(left), /config\.json or another small file of the source differs/)
  })

  test("an output that is complete, and not of this plan", async () => {
    using left = await leftBehind()
    await left.resume()
    await expectRefused(left, await replan(left, { to: "F32" }), /exists and is not empty/)
    await expectRefused(left, left.plan, /exists and is not empty/, { manifest: true })
    // Whether its results are finite is not known any more.
    await expectRefused(left, left.plan, /exists and is not empty/, { nonFinite: "error" })
    const [name = ""] = readdirSync(left.output).filter((one) => one.endsWith(".json"))
    writeFileSync(join(left.output, name), `${readFileSync(join(left.output, name), "utf8")} `)
    await expectRefused(left, left.plan, /exists and is not empty/)
  })

  test("together with --force", async () => {
    using left = await leftBehind()
    const run = runPlan(left.plan, { output: left.output, resume: true, force: true })
    await expect(run).rejects.toThrow(UsageError)
  })
})

test("a full device ends a run that may be resumed as any other", async () => {
  using left = await leftBehind()
  const plan = { ...left.plan, bytesOut: Number.MAX_SAFE_INTEGER }
  await expect(runPlan(plan, { output: left.output, resume: true })).rejects.toThrow(IoError)
  expect((await left.resume()).resumed).toBe(left.shards.length)
})

function flipBit(path: string, position: number): void {
  const file = openSync(path, "r+")
  writeSync(file, Uint8Array.of(readFileSync(path)[position]! ^ 1), 0, 1, position)
  closeSync(file)
}
