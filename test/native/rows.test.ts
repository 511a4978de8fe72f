/** Jobs whose rows are stored in another order, or in several matrices by turns: every row goes where the step says. */
import { describe, expect, test } from "bun:test"
import { readFileSync, writeFileSync } from "node:fs"
import { measureJob, runJob } from "../../src/native/job.ts"
import { encodeTestPlan, folderOfEachTest, settings, type TestStep } from "./plan.ts"

const { file } = folderOfEachTest()

interface Shape {
  readonly batch: number
  readonly rows: number
  readonly columns: number
  readonly parts?: number
  readonly swap?: { readonly middle: number; readonly inner: number }
}

/** The number stored at a row and column of a part: its position in the whole of the values. */
function storedValue(
  { batch, rows, columns, parts = 1 }: Shape,
  item: number,
  part: number,
  row: number,
  column: number,
) {
  const partRows = rows / parts
  return ((part * batch + item) * partRows + row) * columns + column
}

/** Dense values in order, by the words of abi.Step: one number at a time. */
function expectedValues(shape: Shape, transposed: boolean): Float32Array {
  const { batch, rows, columns, parts = 1, swap = { middle: 1, inner: 1 } } = shape
  const dense = new Float32Array(batch * rows * columns)
  for (let item = 0; item < batch; item += 1) {
    for (let row = 0; row < rows; row += 1) {
      const inPart = Math.floor(row / parts)
      const i = inPart % swap.inner
      const m = Math.floor(inPart / swap.inner) % swap.middle
      const o = Math.floor(inPart / swap.inner / swap.middle)
      const stored = (o * swap.inner + i) * swap.middle + m
      for (let column = 0; column < columns; column += 1) {
        const at = transposed ? column * rows + row : row * columns + column
        dense[item * rows * columns + at] = storedValue(shape, item, row % parts, stored, column)
      }
    }
  }
  return dense
}

function stepOf(shape: Shape, transposed: boolean): TestStep {
  const { batch, rows, columns, parts = 1, swap } = shape
  const partRows = rows / parts
  const sources = Array.from({ length: parts }, (_, part) => ({
    file: 0,
    offset: part * batch * partRows * columns * 4,
    size: batch * partRows * columns * 4,
    lineBytes: columns * 4,
    batchBytes: partRows * columns * 4,
    unitColumns: 1,
    unitBytes: 4,
  }))
  const rowAlign = parts * (swap?.middle ?? 1) * (swap?.inner ?? 1)
  const order = swap === undefined ? {} : { swap }
  return { codec: "f32", dtype: "f32", transposed, batch, rows, columns, rowAlign, parts, ...order, target: 0, sources }
}

const shapes: readonly Shape[] = [
  { batch: 1, rows: 8, columns: 1, swap: { middle: 2, inner: 4 } },
  { batch: 1, rows: 64, columns: 33, swap: { middle: 2, inner: 8 } },
  { batch: 3, rows: 60, columns: 7, swap: { middle: 5, inner: 3 } },
  { batch: 1, rows: 1024, columns: 600, swap: { middle: 2, inner: 64 } },
  { batch: 1, rows: 2, columns: 5, parts: 2 },
  { batch: 3, rows: 42, columns: 65, parts: 2 },
  { batch: 2, rows: 33, columns: 9, parts: 3 },
  { batch: 1, rows: 1800, columns: 512, parts: 2 },
]

describe.each(["mmap", "pread", "direct"] as const)("%s", (io) => {
  describe.each([false, true])("transposed %p", (transposed) => {
    test.each(shapes.map((shape) => [JSON.stringify(shape), shape] as const))("%s", async (_name, shape) => {
      const count = shape.batch * shape.rows * shape.columns
      const source = file("source")
      writeFileSync(
        source,
        Float32Array.from({ length: count }, (_, i) => i),
      )
      const expected = Buffer.from(expectedValues(shape, transposed).buffer)
      for (const memoryMax of [2 ** 30, 2 ** 18]) {
        const target = file(`target-${memoryMax}`)
        const targets = [{ path: target, head: new Uint8Array(3) }]
        const plan = encodeTestPlan({ sources: [source], targets, steps: [stepOf(shape, transposed)] })
        const options = { ...settings, io, memoryMax }
        // Rows by turns that are transposed need strips of whole columns, which may not fit.
        if (measureJob(plan.bytes, options) === undefined) continue
        expect(await runJob(plan.bytes, options)).toMatchObject({ status: "ok", nonFinite: { count: 0 } })
        expect(Buffer.compare(readFileSync(target).subarray(3), expected)).toBe(0)
        const verified = await runJob(plan.bytes, { ...options, kind: "verify" })
        expect(verified).toMatchObject({ status: "ok", elementsCompared: count })
      }
    })
  })
})

test("rows that the parts or the swap do not divide are a fault of the caller", () => {
  const refused = (shape: Shape, change: Partial<TestStep> = {}) => {
    const source = file("source")
    writeFileSync(source, new Uint8Array(shape.batch * shape.rows * shape.columns * 4))
    const targets = [{ path: file("target"), head: new Uint8Array() }]
    const steps = [{ ...stepOf(shape, false), ...change }]
    const plan = encodeTestPlan({ sources: [source], targets, steps })
    expect(() => measureJob(plan.bytes, settings)).toThrow()
  }
  const turned: Shape = { batch: 1, rows: 12, columns: 4, swap: { middle: 2, inner: 3 } }
  refused(turned, { rowAlign: 4 })
  refused(turned, { swap: { middle: 5, inner: 1 }, rowAlign: 5 })
  refused(turned, { swap: { middle: 0, inner: 3 } })
  refused({ batch: 1, rows: 12, columns: 4, parts: 2 }, { parts: 0 })
  refused({ batch: 1, rows: 12, columns: 4, parts: 2 }, { parts: 4, rowAlign: 4 })
  refused({ batch: 1, rows: 12, columns: 4, parts: 2 }, { rowAlign: 1 })
  refused({ batch: 1, rows: 12, columns: 4, parts: 2 }, { swap: { middle: 2, inner: 3 }, rowAlign: 12 })
})
