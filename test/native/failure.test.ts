/** Jobs that end badly: what they say, and that they leave nothing behind. */
import { beforeEach, describe, expect, test } from "bun:test"
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { join } from "node:path"
import { RefusedError } from "../../src/errors.ts"
import { JobOptions, Status } from "../../src/native/abi.gen.ts"
import { Job, type JobReport, type JobSettings, measureJob, runJob } from "../../src/native/job.ts"
import { native, statusName } from "../../src/native/library.ts"
import { reportError } from "../../src/native/report.ts"
import {
  copyStep,
  type EncodedTestPlan,
  encodeTestPlan,
  fillBytes,
  fillMxfp4,
  folderOfEachTest,
  mxfp4Step,
  settings,
} from "./plan.ts"

const { file } = folderOfEachTest()
let folder: string
let source: string
let target: string
beforeEach(() => {
  folder = file()
  source = file("source")
  target = file("target.partial")
})

function copyPlan(size = 1000): EncodedTestPlan {
  writeFileSync(source, fillBytes(size))
  return encodeTestPlan({
    sources: [source],
    targets: [{ path: target, head: fillBytes(8) }],
    steps: [copyStep(0, 0, size, 0)],
  })
}

function errorOf(report: JobReport, sourceSize = 1000) {
  return reportError(report, [
    { path: source, size: sourceSize },
    { path: target, size: 1008 },
  ])
}

/** A job that takes long enough to be disturbed: `batch` matrices of 8 MB of codes. */
function longPlan(batch: number, transposed: boolean): EncodedTestPlan {
  const extents = { batch, rows: 4096, columns: 4096 }
  fillMxfp4(source, batch, 4096, 4096)
  const step = mxfp4Step(extents, { file: 0, offset: 0, target: 0 }, { dtype: "f32", transposed })
  return encodeTestPlan({ sources: [source], targets: [{ path: target, head: fillBytes(8) }], steps: [step] })
}

/** Starts `plan` and calls `disturb` when its first bytes are done; the job has not ended by then. */
async function disturbed(plan: EncodedTestPlan, options: JobSettings, disturb: (job: Job) => void): Promise<JobReport> {
  using job = Job.start(plan.bytes, options)
  while (job.poll().bytesDone === 0) await Bun.sleep(0)
  disturb(job)
  expect(job.poll().bytesDone).toBeLessThan(job.poll().bytesTotal)
  return await job.finish()
}

describe("a source that is truncated while it is read", () => {
  test.each(["mmap", "pread", "direct"] as const)("%s, row by row", async (io) => {
    const plan = longPlan(4, false)
    const report = await disturbed(plan, { ...settings, io, targetIo: io, threads: 1 }, () => truncateSync(source, 100))
    expect(report).toMatchObject({ status: "source_changed", file: 0 })
    expect(errorOf(report, 37_748_736)?.message).toBe(
      `${source}: source changed while it was read (expected 37748736 bytes, found 100)`,
    )
    expect(readdirSync(folder)).toEqual(["source"])
  })

  test("mmap, a matrix that was present already: the fault inside the map is survived", async () => {
    const plan = longPlan(1, true)
    const report = await disturbed(plan, { ...settings, threads: 1 }, () => truncateSync(source, 0))
    expect(report).toMatchObject({ status: "source_changed", file: 0 })
    expect(readdirSync(folder)).toEqual(["source"])
  })

  test("pread, transposed", async () => {
    const plan = longPlan(4, true)
    const report = await disturbed(plan, { ...settings, io: "pread", threads: 1 }, () => truncateSync(source, 0))
    expect(report).toMatchObject({ status: "source_changed", file: 0 })
    expect(readdirSync(folder)).toEqual(["source"])
  })

  test("a copy from a map", async () => {
    const plan = copyPlan(200_000_000)
    const report = await disturbed(plan, { ...settings, threads: 1 }, () => truncateSync(source, 0))
    expect(report).toMatchObject({ status: "source_changed", file: 0 })
    expect(readdirSync(folder)).toEqual(["source"])
  })
})

describe("a source that is another one than was planned", () => {
  test("shorter, before the start", async () => {
    const plan = copyPlan()
    truncateSync(source, 999)
    const report = await runJob(plan.bytes, settings)
    expect(report).toMatchObject({ status: "source_changed", file: 0 })
    expect(errorOf(report)?.message).toBe(
      `${source}: source changed while it was read (expected 1000 bytes, found 999)`,
    )
    expect(existsSync(target)).toBe(false)
  })

  test("of the same size, written later", async () => {
    const plan = copyPlan()
    utimesSync(source, 1, 1)
    const report = await runJob(plan.bytes, settings)
    expect(report).toMatchObject({ status: "source_changed", file: 0 })
    expect(errorOf(report)?.message).toBe(`${source}: source changed while it was read`)
  })

  test("replaced by another file", async () => {
    const plan = copyPlan()
    writeFileSync(join(folder, "other"), fillBytes(1000))
    renameSync(join(folder, "other"), source)
    expect(await runJob(plan.bytes, settings)).toMatchObject({ status: "source_changed", file: 0 })
  })

  test("removed, and replaced by a folder or a FIFO", async () => {
    const plan = copyPlan()
    rmSync(source)
    const report = await runJob(plan.bytes, settings)
    expect(report).toMatchObject({ status: "io", operation: "open", errno: 2, file: 0 })
    expect(errorOf(report)?.message).toBe(`${source}: cannot be opened: no such file or folder (ENOENT)`)
    mkdirSync(source)
    expect(await runJob(plan.bytes, settings)).toMatchObject({ status: "source_changed", file: 0 })
    rmSync(source, { recursive: true })
    expect(Bun.spawnSync(["mkfifo", source]).exitCode).toBe(0)
    expect(await runJob(plan.bytes, settings)).toMatchObject({ status: "source_changed", file: 0 })
    expect(existsSync(target)).toBe(false)
  })

  test("written to while the job runs, its size kept", async () => {
    const plan = longPlan(4, true)
    const report = await disturbed(plan, { ...settings, threads: 1 }, () => utimesSync(source, 5, 5))
    expect(report).toMatchObject({ status: "source_changed", file: 0 })
    expect(readdirSync(folder)).toEqual(["source"])
  })
})

describe("a target that cannot be made", () => {
  test("exists already, as a file or a link, and is left alone", async () => {
    const plan = copyPlan()
    writeFileSync(target, "mine")
    const report = await runJob(plan.bytes, settings)
    expect(report).toMatchObject({ status: "io", operation: "open", errno: 17, file: 1 })
    expect(errorOf(report)?.hint).toBe("another run may be writing it")
    expect(await Bun.file(target).text()).toBe("mine")
    rmSync(target)
    symlinkSync(join(folder, "elsewhere"), target)
    expect(await runJob(plan.bytes, settings)).toMatchObject({ status: "io", operation: "open", errno: 17 })
    expect(readdirSync(folder).sort()).toEqual(["source", "target.partial"])
  })

  test("in no folder, and the targets before it are removed", async () => {
    writeFileSync(source, fillBytes(10))
    const plan = encodeTestPlan({
      sources: [source],
      targets: [
        { path: target, head: fillBytes(8) },
        { path: join(folder, "none", "target"), head: fillBytes(8) },
      ],
      steps: [copyStep(0, 0, 10, 0)],
    })
    expect(await runJob(plan.bytes, settings)).toMatchObject({ status: "io", operation: "open", errno: 2, file: 2 })
    expect(readdirSync(folder)).toEqual(["source"])
  })

  test("in a folder that may not be written", async () => {
    const plan = copyPlan()
    chmodSync(folder, 0o555)
    const report = await runJob(plan.bytes, settings)
    chmodSync(folder, 0o755)
    // The superuser may write anywhere.
    if (process.getuid?.() === 0) expect(report.status).toBe("ok")
    else expect(errorOf(report)?.message).toBe(`${target}: cannot be opened: permission denied (EACCES)`)
  })

  test("on a device without space", async () => {
    const small = join(folder, "small")
    mkdirSync(small)
    const mount = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], { stderr: "pipe" })
    if (mount.exitCode !== 0) {
      console.warn(`skipped: a device without space takes the right to mount (${mount.stderr.toString().trim()})`)
      return
    }
    try {
      writeFileSync(source, fillBytes(100_000))
      const path = join(small, "target")
      const targets = [{ path, head: fillBytes(8) }]
      const plan = encodeTestPlan({ sources: [source], targets, steps: [copyStep(0, 0, 100_000, 0)] })
      const report = await runJob(plan.bytes, settings)
      const error = reportError(report, [
        { path: source, size: 100_000 },
        { path, size: 100_008 },
      ])
      expect(error?.message).toBe(`${path}: cannot be given its size: no space left on the device (ENOSPC)`)
      expect(error?.exitCode).toBe(5)
      expect(readdirSync(small)).toEqual([])
    } finally {
      expect(Bun.spawnSync(["umount", small]).exitCode).toBe(0)
    }
  })
})

describe("cancel", () => {
  test.each(["mmap", "pread", "direct"] as const)("%s: the job ends at once and leaves nothing", async (io) => {
    const plan = longPlan(4, true)
    let asked = 0
    const report = await disturbed(plan, { ...settings, io, targetIo: io }, (job) => {
      asked = performance.now()
      job.cancel()
    })
    expect(report.status).toBe("cancelled")
    expect(performance.now() - asked).toBeLessThan(1000)
    expect(errorOf(report)?.exitCode).toBe(130)
    expect(readdirSync(folder)).toEqual(["source"])
  })

  test("by a signal, before and while it runs", async () => {
    const plan = longPlan(1, false)
    const early = await runJob(plan.bytes, { ...settings, signal: AbortSignal.abort() })
    expect(early.status).toBe("cancelled")
    const controller = new AbortController()
    const onProgress = () => controller.abort()
    const late = await runJob(plan.bytes, { ...settings, signal: controller.signal, onProgress })
    expect(late.status).toBe("cancelled")
    expect(readdirSync(folder)).toEqual(["source"])
  })

  test("by dispose, which waits for the threads", () => {
    const plan = longPlan(4, false)
    const job = Job.start(plan.bytes, settings)
    job.dispose()
    expect(readdirSync(folder)).toEqual(["source"])
    expect(() => job.poll()).toThrow("the job is disposed")
  })

  test("progress never goes back, and ends with all bytes", async () => {
    const plan = longPlan(2, false)
    const done: number[] = []
    const report = await runJob(plan.bytes, { ...settings, onProgress: (progress) => done.push(progress.bytesDone) })
    expect(report.status).toBe("ok")
    expect(done).toEqual([...done].sort((a, b) => a - b))
    expect(done.at(-1)).toBe(2 * 4096 * 4096 * 4)
  })
})

describe("the boundary", () => {
  test("stale and foreign handles are refused", () => {
    const plan = copyPlan()
    const handle = new Uint32Array(1)
    const options = new Uint8Array(JobOptions.size)
    new DataView(options.buffer).setBigUint64(16, 1n << 30n, true)
    expect(native().dq_job_start(plan.bytes, plan.bytes.byteLength, options, handle)).toBe(Status.ok)
    expect(native().dq_job_destroy(handle[0]!)).toBe(Status.ok)
    const out = new Uint8Array(256)
    for (const stale of [handle[0]!, 0, 1, 0xffff_ffff]) {
      const results = [
        native().dq_job_poll(stale, out),
        native().dq_job_cancel(stale),
        native().dq_job_report(stale, out),
        native().dq_job_destroy(stale),
      ]
      expect(results.map(statusName)).toEqual(["bad_handle", "bad_handle", "bad_handle", "bad_handle"])
    }
    expect(out.every((byte) => byte === 0)).toBe(true)
  })

  test("a plan with any one byte of its structs changed is refused or does no harm", async () => {
    const plan = copyPlan()
    const structs = 24 + 2 * 64 + 392
    const options = { ...settings, memoryMax: 2 ** 24 }
    for (let at = 0; at < structs; at++) {
      for (const flip of [1, 0x80]) {
        const bytes = plan.bytes.slice()
        bytes[at] = bytes[at]! ^ flip
        let job: Job
        try {
          job = Job.start(bytes, options)
        } catch (error) {
          expect(String(error)).toBe("Error: dq_job_start returned bad_argument")
          continue
        }
        const report = await job.finish()
        job.dispose()
        expect(["ok", "source_changed", "io"]).toContain(report.status)
        rmSync(target, { force: true })
        for (const name of readdirSync(folder)) if (name !== "source") rmSync(join(folder, name))
      }
    }
  }, 60_000)

  test("a plan cut short at any place is refused", () => {
    const plan = copyPlan()
    for (let size = 1; size < plan.bytes.byteLength; size++) {
      expect(() => Job.start(plan.bytes.slice(0, size), settings)).toThrow("bad_argument")
    }
  })

  test("the smallest working set decides about a limit of memory", async () => {
    const plan = copyPlan()
    expect(measureJob(plan.bytes, { ...settings, io: "pread", memoryMax: 1 })).toBeUndefined()
    expect(() => Job.start(plan.bytes, { ...settings, io: "pread", memoryMax: 1 })).toThrow(RefusedError)
  })

  test("a thousand jobs leave no memory behind", async () => {
    const plan = copyPlan()
    const run = async (count: number) => {
      for (let i = 0; i < count; i++) {
        expect((await runJob(plan.bytes, { ...settings, io: i % 2 === 0 ? "mmap" : "pread" })).status).toBe("ok")
        rmSync(target)
      }
      Bun.gc(true)
      return process.memoryUsage.rss()
    }
    const before = await run(200)
    const after = await run(1000)
    expect(after - before).toBeLessThan(12 * 2 ** 20)
  }, 60_000)
})
