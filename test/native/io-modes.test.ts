/** What sets the I/O modes apart: who refuses them, what they leave in the page cache, how much memory they take. */
import { describe, expect, test } from "bun:test"
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Job, runJob } from "../../src/native/job.ts"
import { reportError } from "../../src/native/report.ts"
import { denseMxfp4 } from "./decoder.ts"
import { copyStep, encodeTestPlan, fillBytes, fillMxfp4, folderOfEachTest, mxfp4Step, settings } from "./plan.ts"

const { file } = folderOfEachTest()
const MODES = ["mmap", "pread", "direct"] as const

/** Bytes of a file in the page cache; undefined where no program tells. */
function cachedBytes(path: string): number | undefined {
  if (Bun.which("fincore") === null) return undefined
  const run = Bun.spawnSync(["fincore", "--bytes", "--noheadings", "-o", "RES", path])
  return run.exitCode === 0 ? Number(run.stdout.toString().trim()) : undefined
}

/** A folder on a file system that lives in memory, or undefined. */
function memoryFolder(): string | undefined {
  return existsSync("/dev/shm") ? mkdtempSync("/dev/shm/dequantizer-") : undefined
}

describe.each([
  ["row by row", false],
  ["transposed", true],
] as const)("megabytes at odd places, %s", (_name, transposed) => {
  const extent = { batch: 2, rows: 1500, columns: 2080 }

  test.each(MODES.flatMap((io) => MODES.map((targetIo) => [io, targetIo] as const)))("%s in, %s out", async (...io) => {
    const source = file("source")
    fillMxfp4(source, extent.batch, extent.rows, extent.columns, 5)
    const other = file("other")
    writeFileSync(other, fillBytes(5_000_003, 9))
    const path = file("target")
    const head = fillBytes(14)
    const plan = encodeTestPlan({
      sources: [source, other],
      targets: [{ path, head }],
      steps: [
        mxfp4Step(extent, { file: 0, offset: 5, target: 0 }, { dtype: "bf16", transposed }),
        copyStep(1, 2, 5_000_000, 0),
        mxfp4Step(extent, { file: 0, offset: 5, target: 0 }, { dtype: "f32", transposed }),
      ],
    })
    const report = await runJob(plan.bytes, { ...settings, io: io[0], targetIo: io[1], sync: true })
    expect(report).toMatchObject({ status: "ok", io: io[0], targetIo: io[1] })
    const stored = readFileSync(source)
    const expected = Buffer.concat([
      head,
      denseMxfp4(stored, 5, extent, "bf16", transposed),
      readFileSync(other).subarray(2, 5_000_002),
      denseMxfp4(stored, 5, extent, "f32", transposed),
    ])
    expect(Buffer.compare(readFileSync(path), expected)).toBe(0)
  })
})

test("direct: a file system that lives in memory refuses, and the page cache is used", async () => {
  const folder = memoryFolder()
  if (folder === undefined) {
    console.warn("skipped: there is no /dev/shm")
    return
  }
  try {
    const source = file("source")
    writeFileSync(source, fillBytes(300_000))
    const path = join(folder, "target")
    const targets = [{ path, head: fillBytes(8) }]
    const plan = encodeTestPlan({ sources: [source], targets, steps: [copyStep(0, 0, 300_000, 0)] })
    const report = await runJob(plan.bytes, { ...settings, io: "pread", targetIo: "direct" })
    expect(report).toMatchObject({ status: "ok", targetIo: "direct", refusedFile: 1 })
    expect(Buffer.compare(readFileSync(path).subarray(8), fillBytes(300_000))).toBe(0)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

describe("the page cache", () => {
  test.each(MODES)("%s: nothing is left of a job that is larger than it", async (io) => {
    const size = 40_000_000
    const [source, path] = [file("source"), file("target")]
    writeFileSync(source, fillBytes(size))
    // What has not reached the device cannot leave the cache.
    Bun.spawnSync(["sync", source])
    if ((cachedBytes(source) ?? 0) < size / 2) {
      console.warn("skipped: fincore is not installed, or the file system keeps no pages")
      return
    }
    const plan = encodeTestPlan({
      sources: [source],
      targets: [{ path, head: fillBytes(8) }],
      steps: [copyStep(0, 0, size, 0)],
    })
    const report = await runJob(plan.bytes, { ...settings, io, targetIo: io, sync: true, dropCache: true })
    expect(report).toMatchObject({ status: "ok", refusedFile: undefined })
    // A few pages wait in lists of each CPU, from which nobody may take them.
    expect(cachedBytes(source)).toBeLessThan(size / 20)
    expect(cachedBytes(path)).toBeLessThan(size / 20)
  })

  test("direct writes leave nothing there, whatever the size", async () => {
    const size = 40_000_000
    const [source, path] = [file("source"), file("target")]
    writeFileSync(source, fillBytes(size))
    const targets = [{ path, head: fillBytes(8) }]
    const plan = encodeTestPlan({ sources: [source], targets, steps: [copyStep(0, 0, size, 0)] })
    const report = await runJob(plan.bytes, { ...settings, targetIo: "direct", sync: true })
    expect(report).toMatchObject({ status: "ok", refusedFile: undefined })
    const cached = cachedBytes(path)
    if (cached === undefined) console.warn("skipped: fincore is not installed")
    // Both ends of each write share a page with their neighbours.
    else expect(cached).toBeLessThan(size / 20)
  })
})

test("a mapped target that somebody cuts short is told, not died of", async () => {
  const source = file("source")
  const extent = { batch: 8, rows: 2048, columns: 4096 }
  fillMxfp4(source, extent.batch, extent.rows, extent.columns)
  const path = file("target")
  const step = mxfp4Step(extent, { file: 0, offset: 0, target: 0 }, { dtype: "bf16", transposed: false })
  const plan = encodeTestPlan({ sources: [source], targets: [{ path, head: fillBytes(8) }], steps: [step] })
  using job = Job.start(plan.bytes, { ...settings, io: "pread", targetIo: "mmap", threads: 4 })
  while (job.poll().running) {
    if (job.poll().bytesDone > 0 && existsSync(path)) truncateSync(path, 100)
    await Bun.sleep(1)
  }
  const report = job.report()
  const files = [
    { path: source, size: 0 },
    { path, size: 0 },
  ]
  // Writes beyond the end make the file long again, so that a run may also end well.
  if (report.status !== "ok") expect(reportError(report, files)?.message).toContain(`${path}: cannot be written`)
})

describe("--max-memory bounds what the process has", () => {
  const bound = 24 * 2 ** 20
  /** Stacks of threads, the plan, what the JavaScript side allocates meanwhile. */
  const runtime = 8 * 2 ** 20

  test.each(MODES.flatMap((io) => [false, true].map((transposed) => [io, transposed] as const)))(
    "%s, transposed %p",
    (io, transposed) => {
      const source = file("source")
      fillMxfp4(source, 4, 2048, 4096)
      const script = join(import.meta.dir, "peak-memory.ts")
      const args = [source, file("target"), io, String(transposed), String(bound)]
      const child = Bun.spawnSync([process.execPath, script, ...args], { stdio: ["ignore", "pipe", "inherit"] })
      const { status, grown, reported } = JSON.parse(child.stdout.toString())
      expect(status).toBe("ok")
      expect(reported).toBeLessThanOrEqual(bound)
      expect(grown).toBeLessThanOrEqual(bound + runtime)
    },
  )
})
