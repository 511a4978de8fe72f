/** Activations against results of torch and gpt-oss (test/vectors/matvec), at every level of this machine. */
import { afterAll, afterEach, describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { type ActivationName, loadMatrix, machineInfo, openCheckpoint, selectLevel } from "../../src/index.ts"
import { temporaryFolder } from "../support/checkpoints.ts"
import { relativeError, writeModel } from "./model.ts"

type Results = Readonly<Record<ActivationName, readonly number[]>>

interface Vectors {
  readonly values: { readonly x: readonly number[]; readonly y: Results }
  readonly layer: {
    readonly rows: number
    readonly columns: number
    readonly batch: number
    readonly weight: readonly number[]
    readonly bias: readonly number[]
    readonly x: readonly number[]
    readonly y: Results
  }
}

const path = join(import.meta.dir, "..", "vectors", "matvec", "activations.json")
const vectors = JSON.parse(readFileSync(path, "utf8")) as Vectors

/**
 * Largest error in roundings of f32: units of 2^-24 of |x|, or for pairs of |gate| · (|up| + 1), the size of the numbers
 * that meet. README.md states the same figures.
 */
const ROUNDINGS: Readonly<Record<ActivationName, number>> = {
  none: 0,
  relu: 0,
  silu: 2.5,
  gelu: 3,
  gelu_tanh: 2.5,
  swiglu: 3,
  swiglu_oss: 3,
}
const names = Object.keys(ROUNDINGS) as ActivationName[]

const folder = temporaryFolder()
afterAll(() => folder[Symbol.dispose]())

async function loadF32(name: string, rows: number, columns: number, values: readonly number[], of: ActivationName) {
  const bytes = new Uint8Array(Float32Array.from(values).buffer)
  const file = writeModel(folder, [{ name: "w", dtype: "F32", shape: [rows, columns], bytes }], `${name}.safetensors`)
  return await loadMatrix(await openCheckpoint(file), "w", { activation: of })
}

/** The size of the numbers that meet in result `i`. */
function sizeOf(activation: ActivationName, x: readonly number[], i: number): number {
  if (activation === "swiglu") return Math.abs(x[i]!) * (Math.abs(x[x.length / 2 + i]!) + 1)
  if (activation === "swiglu_oss") return Math.abs(x[2 * i]!) * (Math.abs(x[2 * i + 1]!) + 1)
  return Math.abs(x[i]!)
}

const { level: best, levels } = machineInfo()
const supported = levels.filter((level) => level.supported).map((level) => level.name)

describe.each(supported)("%s", (level) => {
  afterEach(() => selectLevel(best))

  test.each(names)("%s of single sums", async (activation) => {
    selectLevel(level)
    const { x, y } = vectors.values
    const identity = Array.from({ length: x.length ** 2 }, (_, i) => (i % (x.length + 1) === 0 ? 1 : 0))
    using matrix = await loadF32("identity", x.length, x.length, identity, activation)
    expect(matrix.facts.level).toBe(level)
    const found = matrix.multiply(Float32Array.from(x), undefined, { activation })
    expect(found).toHaveLength(y[activation].length)
    for (const [i, exact] of y[activation].entries()) {
      const error = Math.abs(found[i]! - exact)
      const bound = ROUNDINGS[activation] * 2 ** -24 * sizeOf(activation, x, i)
      if (!(error <= bound)) throw new Error(`result ${i} is ${found[i]}, not ${exact} within ${bound}`)
    }
  })

  test.each(names)("%s of a layer with bias and a batch", async (activation) => {
    selectLevel(level)
    const { rows, columns, batch, weight, bias, x, y } = vectors.layer
    using matrix = await loadF32("layer", rows, columns, weight, activation)
    const options = { activation, bias: Float32Array.from(bias) }
    const found = matrix.multiply(Float32Array.from(x), undefined, options)
    expect(found).toHaveLength(batch * matrix.outputs(activation))
    expect(relativeError(found, y[activation])).toBeLessThan(5e-7)
  })
})
