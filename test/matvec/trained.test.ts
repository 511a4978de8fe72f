/**
 * Trained weights times the activations that their model feeds them, against f64 products of the weights as the
 * libraries that quantized them see them (test/vectors/matvec/make_trained.py), at every level of this machine.
 */
import { afterEach, describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { loadMatrix, machineInfo, openCheckpoint, selectLevel } from "../../src/index.ts"
import { relativeError } from "./model.ts"

interface Trained {
  readonly batch: number
  readonly rows: number
  /** x: f32 [batch, columns], in base64. */
  readonly layers: readonly { readonly name: string; readonly columns: number; readonly x: string }[]
  readonly products: readonly {
    readonly file: string
    readonly weight: string
    readonly codec: string
    readonly layer: string
    /** f64 [batch, rows], in base64. */
    readonly y: string
  }[]
}

const folder = join(import.meta.dir, "..", "vectors", "matvec")
const trained = JSON.parse(readFileSync(join(folder, "trained.json"), "utf8")) as Trained

const { level: best, levels } = machineInfo()
const supported = levels.filter((level) => level.supported).map((level) => level.name)
afterEach(() => selectLevel(best))

function bytesOf(text: string): ArrayBuffer {
  return Uint8Array.fromBase64(text).buffer
}

describe.each(supported)("%s", (level) => {
  test.each(trained.products)("$weight of $file", async ({ file, weight, codec, layer, y }) => {
    const { columns, x: stored } = trained.layers.find(({ name }) => name === layer)!
    const x = new Float32Array(bytesOf(stored))
    const exact = new Float64Array(bytesOf(y))
    expect([x.length, exact.length]).toEqual([trained.batch * columns, trained.batch * trained.rows])
    selectLevel(level)
    using matrix = await loadMatrix(await openCheckpoint(join(folder, file)), weight)
    expect(matrix.facts).toMatchObject({ rows: trained.rows, columns, codec, level, hasInt8: true })
    const float = relativeError(matrix.multiply(x, undefined, { arithmetic: "float" }), exact)
    expect(float).toBeLessThan(1e-6 * Math.sqrt(columns))
    const int8 = relativeError(matrix.multiply(x, undefined, { arithmetic: "int8" }), exact)
    expect(int8).toBeLessThan(0.01)
    // Eight bits are not exact: a smaller error would be one of this test.
    expect(int8).toBeGreaterThan(0.001)
  })
})
