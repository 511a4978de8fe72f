/** Outputs that are made in parts: what lies there before they are finished, what comes of it, and what is refused. */
import { describe, expect, test } from "bun:test"
import { readdirSync, readFileSync, rmSync, truncateSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { CancelledError, CheckError, IoError, MalformedError, RefusedError, UsageError } from "../../src/errors.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import { summarizePlan } from "../../src/plan/describe.ts"
import { type Part, parsePart, partOf } from "../../src/plan/part.ts"
import type { Plan, PlanOptions } from "../../src/plan/plan.ts"
import { partialName } from "../../src/writer/commit.ts"
import { finishParts } from "../../src/writer/finish.ts"
import { acquireLock, lockName } from "../../src/writer/lock.ts"
import { runPlan } from "../../src/writer/run.ts"
import { runFileName } from "../../src/writer/run-files.ts"
import type { ConversionReport, RunOptions } from "../../src/writer/types.ts"
import { randomWords, temporaryFolder, writeSafetensors } from "../support/checkpoints.ts"
import { gptOssTensors } from "../support/models.ts"
import { contents, fingerprint, plannedFolder, tiny, tree } from "./fixture.ts"

const SHARD_SIZE = 20_000
const COUNT = 3

/** An input, its plan, what a single run gives, and a way to run a part into `out`. */
async function parted(options: Partial<PlanOptions> = { shardSize: SHARD_SIZE }, more: Partial<RunOptions> = {}) {
  const input = await plannedFolder(options)
  const whole = input.folder.file("whole")
  await runPlan(input.plan, { output: whole, ...more })
  const output = input.folder.file("out")
  const runOf = async (plan: Plan, part: Part, changes: Partial<RunOptions> = {}): Promise<ConversionReport> =>
    await runPlan(plan, { output, part, ...more, ...changes })
  const run = async (index: number, changes: Partial<RunOptions> = {}) =>
    await runOf(input.plan, { index, count: COUNT }, changes)
  const runAll = async () => {
    for (const index of [2, 3, 1]) await run(index)
  }
  const replan = async (changes: Partial<PlanOptions>) =>
    planConversion(await openCheckpoint(input.folder.file("in")), { ...options, ...changes })
  const place = { kind: "folder" as const, path: output, folder: output }
  const own = (index: number, file: "journal" | "lock" | "manifest") =>
    join(output, runFileName({ ...place, part: { index, count: COUNT } }, file))
  return {
    ...input,
    whole,
    output,
    place,
    run,
    runOf,
    runAll,
    replan,
    own,
    [Symbol.dispose]: () => input[Symbol.dispose](),
  }
}

type Parted = Awaited<ReturnType<typeof parted>>

/** Nothing but what the parts keep for themselves and files under temporary names: nobody takes it for an output. */
async function expectUnfinished({ output }: Parted): Promise<void> {
  const strange = readdirSync(output).filter((name) => !/^\.dequantizer-part-|\.partial$/.test(name))
  expect(strange).toEqual([])
  await expect(openCheckpoint(output)).rejects.toThrow(MalformedError)
}

describe("parts", () => {
  test("every N-th shard from the I-th, each in one part; small files in the first", async () => {
    using input = await plannedFolder({ shardSize: SHARD_SIZE })
    const { plan } = input
    for (const count of [1, 2, 3, 7, plan.shards.length + 2]) {
      const parts = Array.from({ length: count }, (_, i) => partOf(plan, { index: i + 1, count }))
      for (const [i, part] of parts.entries()) {
        expect(part.shards).toEqual(plan.shards.filter((_, shard) => shard % count === i))
        expect(part.index === undefined && part.config === undefined && part.sideFiles.length === 0).toBe(i > 0)
      }
      const sum = (key: "bytesOut" | "weightCount" | "castCount") => parts.reduce((total, part) => total + part[key], 0)
      for (const key of ["bytesOut", "weightCount", "castCount"] as const) expect(sum(key)).toBe(plan[key])
      expect(Math.max(...parts.map(({ bytesIn }) => bytesIn))).toBeLessThanOrEqual(plan.bytesIn)
    }
  })

  test("I/N", () => {
    expect(parsePart("2/8", "--part")).toEqual({ index: 2, count: 8 })
    for (const text of ["0/2", "3/2", "1", "1/0", "/", "-1/2", "1/2/3", "1/1000000", " 1/2", "a/b"]) {
      expect(() => parsePart(text, "--part")).toThrow(/^--part: .* is not I\/N with I from 1 to N/)
    }
  })

  test("a dry run tells of the part alone", async () => {
    using input = await plannedFolder({ shardSize: SHARD_SIZE })
    const summary = summarizePlan(partOf(input.plan, { index: 2, count: 3 }))
    expect(summary).toMatchObject({ part: `2/3: ${summary.shards.length} of ${input.plan.shards.length} shards` })
    expect(summary.notes).toEqual(summarizePlan(input.plan).notes)
    expect(summary.bytesOut).toBe(summary.shards.reduce((sum, { bytes }) => sum + bytes, 0))
  })

  test("an output that is a file has none", async () => {
    using folder = temporaryFolder()
    writeSafetensors(folder.file("in.safetensors"), gptOssTensors(tiny))
    const plan = planConversion(await openCheckpoint(folder.file("in.safetensors")))
    const run = runPlan(plan, { output: folder.file("out.safetensors"), part: { index: 1, count: 2 } })
    await expect(run).rejects.toThrow(UsageError)
    await expect(run).rejects.toThrow("--part needs a folder: an output file is one shard")
    expect(readdirSync(folder.path)).toEqual(["in.safetensors"])
  })
})

describe("a finished output is that of a single run, byte for byte", () => {
  test.each([{}, { manifest: true }])("in any order, %j", async (more) => {
    using input = await parted({ shardSize: SHARD_SIZE }, more)
    const weights: number[] = []
    for (const index of [3, 1, 2]) {
      const report = await input.run(index)
      expect(report).toMatchObject({ part: { index, count: COUNT }, resumed: 0 })
      weights.push(report.weights)
      await expectUnfinished(input)
    }
    expect(weights.reduce((sum, count) => sum + count, 0)).toBe(input.plan.weightCount)
    const report = await finishParts(input.output)
    expect(report).toMatchObject({ parts: COUNT, nonFinite: { count: 0 } })
    expect(report.bytesChecked).toBeGreaterThan(input.plan.bytesOut - 1)
    expect(contents(input.output)).toEqual(contents(input.whole))
    expect(report.files.toSorted()).toEqual(
      tree(input.whole)
        .filter((name) => !name.endsWith("/"))
        .toSorted(),
    )
  })

  test("all at once", async () => {
    using input = await parted()
    await Promise.all([1, 2, 3].map((index) => input.run(index)))
    await finishParts(input.output)
    expect(contents(input.output)).toEqual(contents(input.whole))
  })

  test("more parts than shards", async () => {
    using input = await parted({ shardSize: "single" })
    for (const index of [1, 2, 3]) await input.run(index)
    await finishParts(input.output)
    expect(contents(input.output)).toEqual(contents(input.whole))
  })

  test("in the place of an older output, which stays until then", async () => {
    using input = await parted()
    await runPlan(await input.replan({ to: "F32" }), { output: input.output })
    const before = fingerprint(input.output)
    await expect(input.run(1)).rejects.toThrow(/exists and is not empty/)
    expect(fingerprint(input.output)).toEqual(before)
    for (const index of [1, 2, 3]) await input.run(index, { force: true })
    expect(fingerprint(input.output)).toEqual(expect.arrayContaining(before))
    await finishParts(input.output)
    expect(contents(input.output)).toEqual(contents(input.whole))
  })

  test("results that are not finite are counted over all parts", async () => {
    using folder = temporaryFolder()
    const tensors = gptOssTensors({ ...tiny, wildScales: true })
    writeSafetensors(folder.file("a.safetensors"), tensors)
    const plan = planConversion(await openCheckpoint(folder.path), { shardSize: SHARD_SIZE })
    const output = join(folder.path, "..", `${Bun.hash(folder.path)}`)
    try {
      const single = await runPlan(plan, { output: `${output}-whole` })
      for (const index of [1, 2]) await runPlan(plan, { output, part: { index, count: 2 } })
      expect((await finishParts(output)).nonFinite).toEqual(single.nonFinite)
      expect(single.nonFinite.count).toBeGreaterThan(0)
    } finally {
      for (const path of [output, `${output}-whole`]) rmSync(path, { recursive: true, force: true })
    }
  })

  test("finishing again, and parts and runs again with --resume, change nothing", async () => {
    using input = await parted()
    await input.runAll()
    await finishParts(input.output)
    const before = fingerprint(input.output)
    expect((await finishParts(input.output)).parts).toBe(0)
    // What a finishing leaves that was killed when only its lock was left to remove.
    writeFileSync(join(input.output, lockName(input.place)), "")
    expect((await finishParts(input.output)).parts).toBe(0)
    for (const index of [1, 2, 3]) expect((await input.run(index, { resume: true })).wasComplete).toBe(true)
    expect((await runPlan(input.plan, { output: input.output, resume: true })).wasComplete).toBe(true)
    await expect(input.run(2)).rejects.toThrow(/exists and is not empty/)
    expect(fingerprint(input.output)).toEqual(before)
  })
})

describe("a part that ended early", () => {
  /** Cancels a part when all its shards are written. */
  async function interrupt(input: Parted, index: number, resume: boolean): Promise<void> {
    const controller = new AbortController()
    const onProgress = ({ phase }: { phase: string }) => {
      if (phase === "verify") controller.abort(new CancelledError("SIGTERM"))
    }
    await expect(input.run(index, { resume, signal: controller.signal, onProgress })).rejects.toThrow(CancelledError)
  }

  test("with --resume goes on, and leaves the others alone", async () => {
    using input = await parted()
    await input.run(1)
    await input.run(3)
    const others = fingerprint(input.output)
    await interrupt(input, 2, true)
    await expect(finishParts(input.output)).rejects.toThrow(/part 2\/3 is not done/)
    expect(fingerprint(input.output)).toEqual(expect.arrayContaining(others))
    const report = await input.run(2, { resume: true })
    expect(report.resumed).toBe(partOf(input.plan, { index: 2, count: COUNT }).shards.length)
    expect(fingerprint(input.output)).toEqual(expect.arrayContaining(others))
    await finishParts(input.output)
    expect(contents(input.output)).toEqual(contents(input.whole))
  })

  test("without it leaves nothing of its own", async () => {
    using input = await parted()
    await input.run(1)
    const before = fingerprint(input.output)
    await interrupt(input, 2, false)
    expect(fingerprint(input.output)).toEqual(before)
    rmSync(input.output, { recursive: true })
    await interrupt(input, 2, false)
    expect(readdirSync(input.folder.path).toSorted()).toEqual(["in", "whole"])
  })

  test("a shard that was damaged meanwhile is made again by --resume", async () => {
    using input = await parted()
    await input.runAll()
    const [shard] = partOf(input.plan, { index: 2, count: COUNT }).shards
    const path = join(input.output, partialName(shard!.name))
    const bytes = readFileSync(path)
    bytes[bytes.length - 1]! ^= 1
    writeFileSync(path, bytes)
    await expect(finishParts(input.output)).rejects.toThrow(CheckError)
    await expect(finishParts(input.output)).rejects.toThrow(/part 2\/3: file ".*" is not what the part wrote/)
    await expectUnfinished(input)
    const count = partOf(input.plan, { index: 2, count: COUNT }).shards.length
    expect((await input.run(2, { resume: true })).resumed).toBe(count - 1)
    await finishParts(input.output)
    expect(contents(input.output)).toEqual(contents(input.whole))
  })
})

describe("finishing is refused, with what is missing or differs, and nothing touched", () => {
  async function expectRefused(input: Parted, says: RegExp): Promise<void> {
    const before = fingerprint(input.output)
    const run = finishParts(input.output)
    await expect(run).rejects.toThrow(RefusedError)
    await expect(run).rejects.toThrow(says)
    expect(fingerprint(input.output)).toEqual(before)
  }

  test("parts are missing", async () => {
    using input = await parted()
    await input.run(2)
    await expectRefused(input, /parts 1\/3, 3\/3 are missing/)
    await input.run(1)
    await expectRefused(input, /part 3\/3 is missing/)
  })

  test("a file of a part is missing, or cut off", async () => {
    using input = await parted()
    await input.runAll()
    const [shard] = partOf(input.plan, { index: 3, count: COUNT }).shards
    const path = join(input.output, partialName(shard!.name))
    truncateSync(path, 100)
    await expectRefused(input, /part 3\/3: file ".*" is not whole \(expected \d+ bytes, found 100\)/)
    rmSync(path)
    await expectRefused(input, /part 3\/3: file ".*" is missing/)
  })

  test("a journal is unreadable, or that of another version, options or source", async () => {
    using input = await parted()
    await input.runAll()
    const path = input.own(2, "journal")
    const text = readFileSync(path, "utf8")
    const cases: readonly [string, RegExp][] = [
      ["", /part 2\/3 is not done/],
      [text.slice(0, -20), /part 2\/3 is not done/],
      [text.replace(/"version":"[^"]*"/, '"version":"0.0.1"'), /does not belong to part .*: it was begun by version/],
      [text.replace('"--to","BF16"', '"--to","F32"'), /does not belong to part .*: --to differs/],
      [text.replace(/"mtime":"1/, '"mtime":"2'), /does not belong to part .*: source .* has changed/],
    ]
    for (const [changed, says] of cases) {
      writeFileSync(path, changed)
      await expectRefused(input, says)
    }
    writeFileSync(path, text)
    await finishParts(input.output)
    expect(contents(input.output)).toEqual(contents(input.whole))
  })

  test("parts of two numbers of parts", async () => {
    using input = await parted()
    await input.runAll()
    writeFileSync(join(input.output, ".dequantizer-part-1-of-2.journal"), readFileSync(input.own(1, "journal")))
    await expectRefused(input, /part 1\/3 does not belong to part 1\/2: it is one of 3 parts, not of 2/)
  })

  test("a part is at work", async () => {
    using input = await parted()
    await input.runAll()
    const lock = await acquireLock(input.place, "shared")
    await expectRefused(input, /another run is writing it/)
    await lock.release()
    await finishParts(input.output)
  })

  test("a name of the output is taken", async () => {
    using input = await parted()
    await input.runAll()
    writeFileSync(join(input.output, "config.json"), "mine")
    await expectRefused(input, /config\.json: exists/)
  })

  test("what holds no parts", async () => {
    using folder = temporaryFolder()
    await expect(finishParts(folder.path)).rejects.toThrow(/holds no parts of an output/)
    await expect(finishParts(folder.file("none"))).rejects.toThrow(IoError)
    writeFileSync(folder.file("file"), "")
    await expect(finishParts(folder.file("file"))).rejects.toThrow(/is no folder/)
    expect(readdirSync(folder.path)).toEqual(["file"])
  })
})

describe("a part is refused, and nothing touched", () => {
  async function expectRefused(input: Parted, run: () => Promise<unknown>, says: RegExp): Promise<void> {
    const before = fingerprint(input.output)
    const refused = run()
    await expect(refused).rejects.toThrow(RefusedError)
    await expect(refused).rejects.toThrow(says)
    expect(fingerprint(input.output)).toEqual(before)
  }

  test("beside parts of other options, of another source, or of another number", async () => {
    using input = await parted()
    await input.run(1)
    const other = await input.replan({ to: "F32" })
    const second = { index: 2, count: COUNT }
    await expectRefused(input, () => input.runOf(other, second), /part 2\/3 does not belong to part 1\/3: --to differs/)
    await expectRefused(input, () => input.run(2, { manifest: true }), /--manifest differs/)
    await expectRefused(input, () => input.runOf(input.plan, { index: 1, count: 2 }), /one of 3 parts, not of 2/)
    utimesSync(input.plan.checkpoint.shards[0]!.file.path, 1, 1)
    const touched = await input.replan({})
    await expectRefused(input, () => input.runOf(touched, second), /source ".*" has changed: it was written to since/)
    await expectRefused(
      input,
      () => input.runOf(touched, { index: 1, count: COUNT }, { resume: true }),
      /cannot be resumed/,
    )
  })

  test("that is at work already, or while the whole is", async () => {
    using input = await parted()
    await input.run(1)
    const lock = await acquireLock({ ...input.place, part: { index: 2, count: COUNT } })
    await expectRefused(input, () => input.run(2), /another run is writing part 2\/3 of it \(process \d+ on/)
    await lock.release()
    const whole = await acquireLock(input.place)
    await expectRefused(input, () => input.run(2), /another run is writing it/)
    await whole.release()
    expect((await input.run(2)).part).toEqual({ index: 2, count: COUNT })
  })

  test("in the place of anything else; a whole run in the place of parts, with --force too", async () => {
    using input = await parted()
    await input.run(1)
    const whole = (more: Partial<RunOptions>) => () => runPlan(input.plan, { output: input.output, ...more })
    for (const more of [{}, { force: true }, { resume: true }]) {
      await expectRefused(input, whole(more), /holds parts of an output/)
    }
    writeFileSync(join(input.output, "mine"), "")
    await expectRefused(input, () => input.run(2), /exists and is not empty/)
    rmSync(join(input.output, "mine"))
    writeFileSync(join(input.output, ".dequantizer.journal"), "")
    await expectRefused(input, () => input.run(2), /its finishing was interrupted/)
    rmSync(input.own(1, "journal"))
    await expectRefused(input, () => input.run(2), /a run of the whole output was interrupted here/)
  })
})

test("of two parts that begin at once with other options at most one goes on", async () => {
  using input = await parted()
  const other = await input.replan({ to: "F32" })
  for (let i = 0; i < 10; i += 1) {
    const runs = [input.run(1), input.runOf(other, { index: 2, count: COUNT })]
    const ended = await Promise.allSettled(runs)
    for (const result of ended) if (result.status === "rejected") expect(result.reason).toBeInstanceOf(RefusedError)
    expect(ended.filter(({ status }) => status === "fulfilled").length).toBeLessThan(2)
    rmSync(input.output, { recursive: true, force: true })
  }
})

test("finishing that is killed at random moments goes on where it was", async () => {
  using input = await parted({ shardSize: 5000 }, { manifest: true })
  const script = `
    const { finishParts } = await import("./src/index.ts")
    console.log("ready")
    await finishParts(${JSON.stringify(input.output)})
  `
  const next = randomWords(23)
  let killed = 0
  for (let round = 0; round < 6; round += 1) {
    await input.runAll()
    for (let i = 0; i < 8; i += 1) {
      const child = Bun.spawn([process.execPath, "-e", script], {
        cwd: join(import.meta.dir, "../.."),
        stdio: ["ignore", "pipe", "inherit"],
      })
      await child.stdout.getReader().read()
      await Bun.sleep(next() % 40)
      child.kill("SIGKILL")
      await child.exited
      if (child.signalCode === "SIGKILL") killed += 1
      if (readdirSync(input.output).includes("model.safetensors.index.json")) {
        expect(contents(input.output)).toMatchObject(contents(input.whole))
      }
    }
    await finishParts(input.output)
    expect(contents(input.output)).toEqual(contents(input.whole))
    rmSync(input.output, { recursive: true })
  }
  expect(killed).toBeGreaterThan(5)
}, 240_000)

test("shared locks: several at once, none beside an exclusive one, the last one removes the file", async () => {
  using folder = temporaryFolder()
  const place = { kind: "folder" as const, path: folder.path, folder: folder.path }
  const shared = [await acquireLock(place, "shared"), await acquireLock(place, "shared")]
  await expect(acquireLock(place)).rejects.toThrow(RefusedError)
  await shared[0]!.release()
  await expect(acquireLock(place)).rejects.toThrow(RefusedError)
  expect(readdirSync(folder.path)).toEqual([lockName(place)])
  await shared[1]!.release()
  expect(readdirSync(folder.path)).toEqual([])
  const alone = await acquireLock(place)
  await expect(acquireLock(place, "shared")).rejects.toThrow(/another run is writing it \(process/)
  await alone.release()
  expect(readdirSync(folder.path)).toEqual([])
})
