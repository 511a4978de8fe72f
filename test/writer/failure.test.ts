/** Runs that fail or are cancelled at any point: nothing of them is left, and an older output is untouched. */
import { describe, expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs"
import { join } from "node:path"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { CancelledError, CheckError, IoError, RefusedError } from "../../src/errors.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import type { Plan } from "../../src/plan/plan.ts"
import { commitFiles, partialName } from "../../src/writer/commit.ts"
import { refuseExisting, resolveOutput } from "../../src/writer/place.ts"
import { runPlan } from "../../src/writer/run.ts"
import type { RunOptions, RunProgress } from "../../src/writer/types.ts"
import { randomWords, temporaryFolder, writeSafetensors } from "../support/checkpoints.ts"
import { gptOssTensors } from "../support/models.ts"
import { fingerprint, plannedFolder, tiny, tree } from "./fixture.ts"

type ErrorClass = abstract new (...args: never[]) => Error

/** The run throws `type`; afterwards `folder` holds what it held before. */
async function expectNothingLeft(folder: string, plan: Plan, options: RunOptions, type: ErrorClass, message: RegExp) {
  const before = fingerprint(folder)
  const run = runPlan(plan, options)
  await expect(run).rejects.toThrow(type)
  await expect(run).rejects.toThrow(message)
  expect(fingerprint(folder)).toEqual(before)
}

/** Calls `act` once, at the last progress of a phase. */
function atEndOf(phase: RunProgress["phase"], act: () => void): (progress: RunProgress) => void {
  let done = false
  return (progress) => {
    if (done || progress.phase !== phase || progress.bytesDone < progress.bytesTotal) return
    done = true
    act()
  }
}

test("working buffers that do not fit the memory limit", async () => {
  using input = await plannedFolder()
  const { folder, plan } = input
  const options = { output: folder.file("out"), maxMemory: 1, io: "pread" } as const
  await expectNothingLeft(folder.path, plan, options, RefusedError, /memory limit/)
})

describe("cancelled", () => {
  test.each(["convert", "verify", "finish"] as const)("at the start of %s", async (phase) => {
    using input = await plannedFolder()
    const { folder, plan } = input
    const controller = new AbortController()
    const onProgress = (progress: RunProgress) => {
      if (progress.phase === phase) controller.abort(new CancelledError("SIGTERM"))
    }
    const options = { output: folder.file("out"), signal: controller.signal, onProgress }
    await expectNothingLeft(folder.path, plan, options, CancelledError, /cancelled/)
    await expect(runPlan(plan, options)).rejects.toMatchObject({ exitCode: 143 })
  })

  test("before it starts", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    const options = { output: folder.file("out"), signal: AbortSignal.abort() }
    await expectNothingLeft(folder.path, plan, options, CancelledError, /cancelled/)
  })

  test("at random moments: there is the old output, or the new one, and nothing else", async () => {
    using input = await plannedFolder({}, { ...tiny, experts: 8, hidden: 256, intermediate: 320 })
    const { folder, plan } = input
    const output = folder.file("out")
    const started = performance.now()
    await runPlan(plan, { output })
    const seconds = performance.now() - started
    const next = randomWords(4)
    let cancelled = 0
    for (let i = 0; i < 25; i += 1) {
      const before = fingerprint(output)
      const after = (1.1 * seconds * (next() % 1000)) / 1000
      try {
        await runPlan(plan, { output, force: true, signal: AbortSignal.timeout(Math.ceil(after)) })
      } catch (error) {
        expect(error).toBeInstanceOf(CancelledError)
        expect(fingerprint(output)).toEqual(before)
        cancelled += 1
      }
      expect(tree(output).length).toBe(before.length)
    }
    expect(cancelled).toBeGreaterThan(5)
  }, 60_000)
})

describe("a check fails", () => {
  test("the output was damaged before it was read back", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    const shard = plan.shards[1]!
    const tensor = shard.tensors.find(({ origin }) => origin.kind === "weight")!
    const flip = () => flipBit(folder.file("out", partialName(shard.name)), tensor.offset)
    const options = { output: folder.file("out"), onProgress: atEndOf("convert", flip) }
    const message = /the output does not compare: tensor "[^"]+": element 0 differs \(expected 0x[0-9a-f]{4}, found/
    await expectNothingLeft(folder.path, plan, options, CheckError, message)
  })

  test("results are not finite and must be", async () => {
    using folder = temporaryFolder()
    writeSafetensors(folder.file("in.safetensors"), gptOssTensors({ ...tiny, wildScales: true }))
    const plan = planConversion(await openCheckpoint(folder.file("in.safetensors")))
    const options = { output: folder.file("out.safetensors"), nonFinite: "error" } as const
    const message = /\d+ results are NaN or infinite in BF16, the first in tensor "model\.layers/
    await expectNothingLeft(folder.path, plan, options, CheckError, message)
    for (const nonFinite of ["warn", "allow"] as const) {
      await runPlan(plan, { output: folder.file(nonFinite), nonFinite })
      expect(existsSync(folder.file(nonFinite))).toBe(true)
    }
  })
})

describe("files change during the run", () => {
  test.each(["mmap", "pread"] as const)("a source becomes shorter (%s)", async (io) => {
    using input = await plannedFolder()
    const { folder, plan } = input
    const { path, size } = plan.checkpoint.shards[0]!.file
    truncateSync(path, size - 100)
    const options = { output: folder.file("out"), io }
    await expectNothingLeft(folder.path, plan, options, IoError, /changed|became shorter/)
  })

  test("a side file grows, or goes", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    const path = folder.file("in", "tokenizer.json")
    appendFileSync(path, "more")
    const options = { output: folder.file("out") }
    await expectNothingLeft(folder.path, plan, options, IoError, /changed since it was listed \(expected 19 bytes/)
    rmSync(path)
    await expectNothingLeft(folder.path, plan, options, IoError, /tokenizer\.json: no such file/)
  })

  test("an output file is in the way of a name that is too long", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    const index = { name: `${"x".repeat(250)}.json`, text: "{}" }
    const message = /name is too long/
    await expectNothingLeft(folder.path, { ...plan, index }, { output: folder.file("out") }, IoError, message)
  })
})

describe("the last step fails", () => {
  test("no name is given, files of the old output come back", async () => {
    using folder = temporaryFolder()
    for (const name of ["a", "b", "index", "old-shard"]) writeFileSync(folder.file(name), `old ${name}`)
    for (const name of ["a", "b", "c"]) writeFileSync(folder.file(partialName(name)), `new ${name}`)
    const before = fingerprint(folder.path)
    writeFileSync(folder.file(partialName("index")), "taken away in the middle")
    const thief = { addCommit: async () => rmSync(folder.file(partialName("index"))) }
    const commit = { folder: folder.path, names: ["a", "b", "c", "index"], stale: ["old-shard"], journal: thief }
    await expect(commitFiles(commit)).rejects.toThrow(IoError)
    expect(fingerprint(folder.path)).toEqual(before)
  })

  test("a run whose index cannot get its name leaves no shard", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    const index = folder.file("out", partialName("model.safetensors.index.json"))
    let stop = false
    // Takes the index away between its writing and its naming, as soon as it is there.
    const thief = (async () => {
      while (!stop) {
        rmSync(index, { force: true })
        await Bun.sleep(0)
      }
    })()
    const tryOften = async () => {
      for (let i = 0; i < 50; i += 1) {
        try {
          await runPlan(plan, { output: folder.file("out"), verify: "none" })
          rmSync(folder.file("out"), { recursive: true })
        } catch (error) {
          return error
        }
      }
      return undefined
    }
    const error = await tryOften()
    stop = true
    await thief
    expect(error).toBeInstanceOf(IoError)
    expect(tree(folder.path).filter((name) => name.startsWith("out"))).toEqual([])
  })
})

/** A small file system of its own, where this user may mount one. */
function mountTiny(path: string, size: string): boolean {
  mkdirSync(path)
  return spawnSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", path]).status === 0
}

describe("the device fills up", () => {
  using probe = temporaryFolder()
  const canMount = mountTiny(probe.file("mount"), "64k")
  if (canMount) spawnSync("umount", [probe.file("mount")])
  else console.warn("no full device is tried: this user may not mount a tmpfs")

  test.if(canMount)("in the middle of the run", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    mountTiny(folder.file("mount"), "64k")
    try {
      // The plan says that it needs nothing, so that only the device itself can object.
      const small = { ...plan, bytesOut: 0 }
      for (const output of ["out", ""]) {
        const options = { output: folder.file("mount", output) }
        await expectNothingLeft(folder.path, small, options, IoError, /no space left on the device/)
      }
    } finally {
      spawnSync("umount", [folder.file("mount")])
    }
  })

  test.if(canMount)("is seen before the run", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    mountTiny(folder.file("mount"), "64k")
    try {
      const options = { output: folder.file("mount", "out") }
      await expectNothingLeft(folder.path, plan, options, IoError, /not enough space/)
    } finally {
      spawnSync("umount", [folder.file("mount")])
    }
  })
})

describe("two runs on one output", () => {
  test("one is refused, the other is not disturbed", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    const output = folder.file("out")
    const runs = await Promise.allSettled([runPlan(plan, { output }), runPlan(plan, { output })])
    expect(runs.map((run) => run.status).toSorted()).toEqual(["fulfilled", "rejected"])
    const refused = runs.find((run) => run.status === "rejected")
    expect(refused?.reason).toBeInstanceOf(RefusedError)
    expect(String(refused?.reason)).toMatch(/another run is writing it|exists/)
    expect(readdirSync(output).filter((name) => /partial|lock|dequantizer/.test(name))).toEqual([])
  })

  test("what appeared after the output was first looked at is refused under the lock as well", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    for (const kind of ["folder", "file"] as const) {
      const place = await resolveOutput({ ...plan, kind }, folder.file(kind))
      await refuseExisting(place, false, new Set())
      if (kind === "folder") mkdirSync(place.path)
      const finished = kind === "folder" ? join(place.path, "model.safetensors") : place.path
      writeFileSync(finished, "by another run")
      await expect(refuseExisting(place, false, new Set())).rejects.toThrow(RefusedError)
      await refuseExisting(place, true, new Set())
    }
  })
})

function flipBit(path: string, position: number): void {
  const file = openSync(path, "r+")
  const byte = new Uint8Array(1)
  readSync(file, byte, 0, 1, position)
  byte[0]! ^= 1
  writeSync(file, byte, 0, 1, position)
  closeSync(file)
}

test("what other programs put into the output folder during the run stays", async () => {
  using input = await plannedFolder()
  const { folder, plan } = input
  const controller = new AbortController()
  const onProgress = ({ phase }: RunProgress) => {
    if (phase !== "verify") return
    writeFileSync(join(folder.path, "out", "theirs.txt"), "kept")
    controller.abort()
  }
  const run = runPlan(plan, { output: folder.file("out"), signal: controller.signal, onProgress })
  await expect(run).rejects.toThrow(CancelledError)
  expect(tree(folder.file("out"))).toEqual(["theirs.txt"])
})
