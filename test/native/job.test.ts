/** Whole jobs over small files: every I/O mode, orientation, dtype and number of threads against a decoder of our own. */
import { describe, expect, test } from "bun:test"
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { measureJob, runJob } from "../../src/native/job.ts"
import { denseMxfp4 } from "./decoder.ts"
import { copyStep, encodeTestPlan, fillBytes, fillMxfp4, folderOfEachTest, mxfp4Step, settings } from "./plan.ts"

const { file } = folderOfEachTest()

const extents = [
  { batch: 1, rows: 1, columns: 32 },
  { batch: 3, rows: 5, columns: 96 },
  { batch: 2, rows: 67, columns: 416 },
  { batch: 1, rows: 700, columns: 1056 },
] as const

describe.each(["mmap", "pread", "direct"] as const)("%s", (io) => {
  describe.each([false, true])("transposed %p", (transposed) => {
    test.each(["bf16", "f16", "f32"] as const)("%s equals the reference on every element", async (dtype) => {
      for (const [i, extent] of extents.entries()) {
        for (const threads of [1, 2, 5]) {
          // A start that no alignment promises.
          const lead = 3 + i
          const source = file("source")
          const target = file(`target-${i}-${threads}`)
          fillMxfp4(source, extent.batch, extent.rows, extent.columns, lead)
          const step = mxfp4Step(extent, { file: 0, offset: lead, target: 0 }, { dtype, transposed })
          const head = fillBytes(13 + i)
          const plan = encodeTestPlan({ sources: [source], targets: [{ path: target, head }], steps: [step] })
          const report = await runJob(plan.bytes, { ...settings, io, targetIo: io, threads })
          const expected = denseMxfp4(readFileSync(source), lead, extent, dtype, transposed)
          const found = readFileSync(target)
          expect(Buffer.compare(found.subarray(0, head.length), head)).toBe(0)
          expect(Buffer.compare(found.subarray(head.length), expected)).toBe(0)
          expect(report).toMatchObject({
            status: "ok",
            io,
            targetIo: io,
            bytesWritten: expected.length,
            file: undefined,
          })
          expect(report.bytesRead).toBeGreaterThanOrEqual((expected.length / (dtype === "f32" ? 4 : 2)) * 0.53125)
        }
      }
    })
  })

  test("a limit of memory changes the buffers, not the result", async () => {
    const extent = { batch: 2, rows: 700, columns: 1056 }
    const source = file("source")
    fillMxfp4(source, extent.batch, extent.rows, extent.columns)
    for (const transposed of [false, true]) {
      const expected = denseMxfp4(readFileSync(source), 0, extent, "bf16", transposed)
      let smallest = 0
      for (const memoryMax of [2 ** 22, 2 ** 19, 2 ** 17, 2 ** 15, 2 ** 14, 4096]) {
        const target = file(`target-${transposed}-${memoryMax}`)
        const step = mxfp4Step(extent, { file: 0, offset: 0, target: 0 }, { dtype: "bf16", transposed })
        const targets = [{ path: target, head: new Uint8Array(0) }]
        const plan = encodeTestPlan({ sources: [source], targets, steps: [step] })
        const options = { ...settings, io, targetIo: io, memoryMax }
        const measure = measureJob(plan.bytes, options)
        if (measure === undefined) continue
        smallest = memoryMax
        const report = await runJob(plan.bytes, options)
        expect(report.status).toBe("ok")
        expect(report.memoryBytes).toBeLessThanOrEqual(memoryMax)
        expect(report.memoryBytes).toBeLessThanOrEqual(measure.memoryBytes)
        expect(report.threads).toBe(measure.threads)
        expect(Buffer.compare(readFileSync(target), expected)).toBe(0)
      }
      expect(smallest).toBeLessThanOrEqual(2 ** 17)
    }
  })

  test("many tensors over several files, copies among them", async () => {
    const sources = ["a", "b", "c"].map((name) => file(name))
    const extent = { batch: 2, rows: 64, columns: 64 }
    fillMxfp4(sources[0]!, 2, 64, 64)
    writeFileSync(sources[1]!, fillBytes(3_000_001, 7))
    writeFileSync(sources[2]!, fillBytes(11, 3))
    const targets = ["x", "y", "z"].map((name, i) => ({ path: file(name), head: fillBytes(i * 9, i) }))
    const plan = encodeTestPlan({
      sources,
      targets,
      steps: [
        mxfp4Step(extent, { file: 0, offset: 0, target: 0 }, { dtype: "f16", transposed: true }),
        copyStep(1, 1, 3_000_000, 0),
        copyStep(2, 0, 11, 1),
        copyStep(1, 5, 1, 1),
        mxfp4Step(extent, { file: 0, offset: 0, target: 1 }, { dtype: "f32", transposed: false }),
      ],
    })
    const report = await runJob(plan.bytes, { ...settings, io, sync: true })
    expect(report.status).toBe("ok")
    const source = readFileSync(sources[0]!)
    const copied = readFileSync(sources[1]!)
    const expected = [
      [targets[0]!.head, denseMxfp4(source, 0, extent, "f16", true), copied.subarray(1)],
      [targets[1]!.head, readFileSync(sources[2]!), copied.subarray(5, 6), denseMxfp4(source, 0, extent, "f32", false)],
      [targets[2]!.head],
    ]
    for (const [i, parts] of expected.entries()) {
      expect(Buffer.compare(readFileSync(targets[i]!.path), Buffer.concat(parts))).toBe(0)
    }
    expect(readdirSync(file()).sort()).toEqual(["a", "b", "c", "x", "y", "z"])
    const verified = await runJob(plan.bytes, { ...settings, kind: "verify", io })
    expect(verified).toMatchObject({
      status: "ok",
      elementsCompared: 3_000_000 + 11 + 1 + 2 * 8192,
      mismatch: undefined,
    })
  })
})

test("a cast of one long row is cut into pieces", async () => {
  const source = file("source")
  const count = 1_000_003
  const values = new Float32Array(count).map((_, i) => Math.sin(i) * 2 ** ((i % 40) - 20))
  writeFileSync(source, new Uint8Array(values.buffer))
  const target = file("target")
  const plan = encodeTestPlan({
    sources: [source],
    targets: [{ path: target, head: fillBytes(7) }],
    steps: [
      {
        codec: "f32",
        dtype: "f32",
        rows: 1,
        columns: count,
        target: 0,
        sources: [{ file: 0, offset: 0, size: count * 4, lineBytes: count * 4, unitColumns: 1, unitBytes: 4 }],
      },
    ],
  })
  expect((await runJob(plan.bytes, settings)).status).toBe("ok")
  expect(Buffer.compare(readFileSync(target).subarray(7), new Uint8Array(values.buffer))).toBe(0)
})

test("results that are not finite are counted, with their first step", async () => {
  const source = file("source")
  const extent = { batch: 1, rows: 4, columns: 64 }
  fillMxfp4(source, 1, 4, 64)
  const bytes = readFileSync(source)
  bytes[128 + 5] = 255
  writeFileSync(source, bytes)
  const place = { file: 0, offset: 0, target: 0 }
  const plan = encodeTestPlan({
    sources: [source],
    targets: [{ path: file("target"), head: new Uint8Array(0) }],
    steps: [
      copyStep(0, 0, 10, 0),
      mxfp4Step(extent, place, { dtype: "bf16", transposed: true }),
      mxfp4Step(extent, place, { dtype: "bf16", transposed: false }),
    ],
  })
  const report = await runJob(plan.bytes, settings)
  // Every element was decoded twice. Under 2^128 the codes 0, 1, 8 and 9 stay finite: zeros and 2^127.
  const nibbles = [...bytes.subarray(5 * 16, 6 * 16)].flatMap((byte) => [byte & 7, (byte >> 4) & 7])
  const count = nibbles.filter((code) => code > 1).length
  expect(count).toBeGreaterThan(0)
  expect(report.nonFinite).toEqual({ count: 2 * count, step: 1 })
})

describe("verify", () => {
  const extent = { batch: 6, rows: 300, columns: 640 }

  async function converted(transposed: boolean) {
    const source = file("source")
    fillMxfp4(source, extent.batch, extent.rows, extent.columns)
    const path = file("target")
    const plan = encodeTestPlan({
      sources: [source],
      targets: [{ path, head: fillBytes(100) }],
      steps: [
        copyStep(0, 0, 1000, 0),
        mxfp4Step(extent, { file: 0, offset: 0, target: 0 }, { dtype: "f16", transposed }),
      ],
    })
    expect((await runJob(plan.bytes, settings)).status).toBe("ok")
    return { plan, path }
  }

  test.each([false, true])("finds one flipped bit, transposed %p", async (transposed) => {
    const { plan, path } = await converted(transposed)
    const bytes = readFileSync(path)
    const element = 6 * 300 * 640 - 1
    const place = 1100 + element * 2
    const expected = bytes.readUInt16LE(place)
    bytes[place] = bytes[place]! ^ 4
    writeFileSync(path, bytes)
    for (const io of ["mmap", "pread"] as const) {
      for (const sampleTiles of [0, 1, 2]) {
        const report = await runJob(plan.bytes, { ...settings, kind: "verify", io, sampleTiles })
        expect(report).toMatchObject({
          status: "mismatch",
          file: undefined,
          mismatch: { count: 1, step: 1, element, found: expected ^ 4, expected },
        })
      }
    }
  })

  test("a head that differs, a target of another size, no target", async () => {
    const { plan, path } = await converted(false)
    const bytes = readFileSync(path)
    const options = { ...settings, kind: "verify" } as const
    writeFileSync(path, bytes.subarray(0, -1))
    expect(await runJob(plan.bytes, options)).toMatchObject({ status: "mismatch", operation: "stat", file: 1 })
    writeFileSync(path, Buffer.concat([bytes, new Uint8Array(1)]))
    expect(await runJob(plan.bytes, options)).toMatchObject({ status: "mismatch", operation: "stat", file: 1 })
    bytes[99] = bytes[99]! ^ 1
    writeFileSync(path, bytes)
    expect(await runJob(plan.bytes, options)).toMatchObject({ status: "mismatch", operation: "read", file: 1 })
    rmSync(path)
    expect(await runJob(plan.bytes, options)).toMatchObject({ status: "io", operation: "open", errno: 2, file: 1 })
  })

  test("samples compare a part, the whole compares all", async () => {
    const { plan } = await converted(true)
    const all = await runJob(plan.bytes, { ...settings, kind: "verify" })
    const sample = await runJob(plan.bytes, { ...settings, kind: "verify", sampleTiles: 2 })
    expect(all.elementsCompared).toBe(1000 + 6 * 300 * 640)
    expect(sample.elementsCompared).toBeGreaterThan(1000)
    expect(sample.elementsCompared).toBeLessThan(all.elementsCompared)
  })
})
