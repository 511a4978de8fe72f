/** Products of loaded weights against plain sums, over random shapes, and every fault of a caller. */
import { afterAll, describe, expect, test } from "bun:test"
import { rmSync } from "node:fs"
import { loadMatrix, openCheckpoint } from "../../src/index.ts"
import type { ActivationName } from "../../src/matrix/matrix.ts"
import { randomWords, temporaryFolder } from "../support/checkpoints.ts"
import { activations } from "./formulas.ts"
import {
  dense,
  mxfp4,
  normal,
  plainProduct,
  relativeError,
  roundBlockwise,
  type Stored,
  type Weights,
  writeModel,
} from "./model.ts"

const folder = temporaryFolder()
afterAll(() => folder[Symbol.dispose]())

let fileCount = 0

async function load(tensors: readonly Stored[], name: string, options: Parameters<typeof loadMatrix>[2] = {}) {
  const path = writeModel(folder, tensors, `${fileCount++}.safetensors`)
  return await loadMatrix(await openCheckpoint(path), name, options)
}

const MXFP4_NAME = "block.0.mlp.mlp1_weight"

describe("products come close to plain sums", () => {
  const seeds = Array.from({ length: 12 }, (_, seed) => seed)
  test.each(seeds)("mxfp4 of random shapes, seed %d", async (seed) => {
    const next = randomWords(seed)
    const [experts, rows, columns] = [1 + (next() % 3), 1 + (next() % 90), 32 * (1 + (next() % 12))]
    const weights = mxfp4(experts, rows, columns, seed)
    using matrix = await load(weights.tensors, MXFP4_NAME, { threads: 1 + (next() % 3) })
    expect(matrix.facts).toMatchObject({ rows, columns, experts, codec: "mxfp4", scheme: "mxfp4-gpt-oss" })
    for (let expert = 0; expert < experts; expert++) {
      const x = normal(columns * (1 + (next() % 16)), seed + 7)
      const expected = plainProduct(weights, x, expert)
      const bound = 1e-6 * Math.sqrt(columns)
      expect(relativeError(matrix.multiply(x, undefined, { expert, arithmetic: "float" }), expected)).toBeLessThan(
        bound,
      )
      // Of a single row nearly everything may cancel.
      const int8 = matrix.multiply(x, undefined, { expert, arithmetic: "int8" })
      expect(relativeError(int8, expected)).toBeLessThan(rows < 8 ? 0.1 : 0.01)
      expect(relativeError(await matrix.reference(x, { expert }), expected)).toBeLessThan(1e-12)
    }
  })

  test.each(["F32", "F16", "BF16"] as const)("dense %s", async (dtype) => {
    for (const [rows, columns] of [
      [1, 1],
      [5, 33],
      [48, 100],
      [130, 257],
    ] as const) {
      const weights = dense("w", dtype, rows, columns, rows)
      using matrix = await load(weights.tensors, "w")
      expect(matrix.facts).toMatchObject({ rows, columns, arithmetic: "float", codec: dtype.toLowerCase() })
      const x = normal(columns * 3, columns)
      const error = relativeError(matrix.multiply(x), plainProduct(weights, x))
      expect(error).toBeLessThan(1e-6 * Math.sqrt(columns) + 1e-7)
    }
  })

  test("one expert alone is the same as that expert of all", async () => {
    const weights = mxfp4(4, 24, 64, 5)
    const x = normal(64, 6)
    using all = await load(weights.tensors, MXFP4_NAME)
    for (const expert of [0, 3]) {
      using one = await load(weights.tensors, MXFP4_NAME, { expert })
      expect(one.facts.experts).toBe(1)
      const options = { arithmetic: "int8" } as const
      expect(one.multiply(x, undefined, options)).toEqual(all.multiply(x, undefined, { ...options, expert }))
    }
  })

  test("the result does not depend on the number of workers", async () => {
    const weights = mxfp4(1, 3000, 512, 9)
    const x = normal(512 * 2, 10)
    const results = await Promise.all(
      [1, 2, 5].map(async (threads) => {
        using matrix = await load(weights.tensors, MXFP4_NAME, { threads })
        expect(matrix.facts.threads).toBe(threads)
        expect(matrix.shares().map((share) => share.rows)).toHaveLength(matrix.facts.workers)
        return [
          matrix.multiply(x, undefined, { arithmetic: "int8" }),
          matrix.multiply(x, undefined, { arithmetic: "float" }),
        ]
      }),
    )
    for (const result of results) expect(result).toEqual(results[0]!)
  })
})

describe("bias and activation", () => {
  const cases = Object.keys(activations) as ActivationName[]
  test.each(cases)("%s", async (activation) => {
    for (const rows of [64, 44, 30]) {
      const weights = dense("w", "F32", rows, 40, rows)
      using matrix = await load(weights.tensors, "w", { activation })
      const x = normal(40, rows).map((value) => value / 8)
      const bias = normal(rows, rows + 1)
      const sums = plainProduct(weights, x).map((sum, i) => sum + bias[i]!)
      const y = matrix.multiply(x, undefined, { bias, activation })
      expect(y).toHaveLength(matrix.outputs(activation))
      expect(relativeError(y, activations[activation](sums))).toBeLessThan(1e-6)
    }
  })

  test("a given y is filled and returned", async () => {
    using matrix = await load(dense("w", "F32", 4, 8, 1).tensors, "w")
    const y = new Float32Array(4)
    expect(matrix.multiply(normal(8, 2), y)).toBe(y)
    expect(y.every((value) => value !== 0)).toBe(true)
  })
})

describe("rounding to mxfp4", () => {
  test("is what the blocks' shared exponent and E2M1 allow", async () => {
    const weights = dense("w", "BF16", 40, 96, 3)
    using matrix = await load(weights.tensors, "w", { quantize: "mxfp4" })
    expect(matrix.facts).toMatchObject({ codec: "mxfp4", scheme: "dense" })
    const rounded: Weights = { ...weights, values: [weights.values[0]!.map(roundBlockwise(weights.values[0]!))] }
    const x = normal(96, 4)
    const expected = plainProduct(rounded, x)
    expect(relativeError(matrix.multiply(x, undefined, { arithmetic: "float" }), expected)).toBeLessThan(1e-5)
    expect(relativeError(await matrix.reference(x), expected)).toBeLessThan(1e-12)
  })

  test("of a value that is not finite is refused, with the tensor's name", async () => {
    const weights = dense("w", "F32", 4, 32, 3)
    new DataView(weights.tensors[0]!.bytes.buffer).setFloat32(4 * 37, Number.NaN, true)
    await expect(load(weights.tensors, "w", { quantize: "mxfp4" })).rejects.toThrow(
      'tensor "w": has values that are NaN or infinite: it cannot become mxfp4',
    )
  })
})

describe("faults of the caller", () => {
  const weights = mxfp4(2, 32, 64, 1)
  const use = async (options?: Parameters<typeof loadMatrix>[2]) => await load(weights.tensors, MXFP4_NAME, options)

  test("lengths", async () => {
    using matrix = await use()
    const x = new Float32Array(64)
    expect(() => matrix.multiply(new Float32Array(63))).toThrow(
      `x has 63 values, "${MXFP4_NAME}" takes 64 values, or up to 16 times as many`,
    )
    expect(() => matrix.multiply(new Float32Array(64 * 17))).toThrow("x has 1088 values")
    expect(() => matrix.multiply(new Float32Array(0))).toThrow("x has 0 values")
    expect(() => matrix.multiply(x, new Float32Array(31))).toThrow("y has 31 values, not 32")
    expect(() => matrix.multiply(x, new Float32Array(32), { activation: "swiglu" })).toThrow("y has 32 values, not 16")
    expect(() => matrix.multiply(x, undefined, { bias: new Float32Array(16) })).toThrow("bias has 16 values, not 32")
    expect(() => matrix.multiply(x, undefined, { expert: 2 })).toThrow("there is no expert 2 among 2")
    expect(() => matrix.time(x, 0)).toThrow("0 is no number of products")
  })

  test("activations that are no numbers leave y alone", async () => {
    using matrix = await use()
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, -(2 ** 97)]) {
      for (const arithmetic of ["float", "int8"] as const) {
        const x = normal(64 * 2, 1)
        x[77] = bad
        const y = new Float32Array(64).fill(5)
        expect(() => matrix.multiply(x, y, { arithmetic })).toThrow(
          `x[77] is ${bad}: activations are finite and not beyond 2^88`,
        )
        expect(y.every((value) => value === 5)).toBe(true)
      }
    }
  })

  test("a disposed matrix", async () => {
    const matrix = await use()
    matrix.dispose()
    matrix.dispose()
    expect(() => matrix.multiply(new Float32Array(64))).toThrow(`the matrix "${MXFP4_NAME}" is disposed`)
  })

  test("names, experts, arithmetic", async () => {
    const others = [
      ...dense("m.q_proj.weight", "F32", 6, 8, 1).tensors,
      { name: "i", dtype: "I64", shape: [4], bytes: new Uint8Array(32) },
    ]
    const checkpoint = await openCheckpoint(writeModel(folder, [...weights.tensors, ...others]))
    await expect(loadMatrix(checkpoint, "k.q_proj.weight")).rejects.toMatchObject({
      message: `${checkpoint.path}: has no tensor "k.q_proj.weight"`,
      hint: 'there is "m.q_proj.weight"',
      exitCode: 2,
    })
    await expect(loadMatrix(checkpoint, "i")).rejects.toMatchObject({ exitCode: 4 })
    await expect(loadMatrix(checkpoint, MXFP4_NAME, { expert: 2 })).rejects.toThrow(
      "has experts 0 to 1, and no expert 2",
    )
    await expect(loadMatrix(checkpoint, MXFP4_NAME, { quantize: "mxfp4" })).rejects.toThrow("is quantized already")
    await expect(loadMatrix(checkpoint, "m.q_proj.weight", { arithmetic: "int8" })).rejects.toThrow(
      "float arithmetic only",
    )
    await expect(loadMatrix(checkpoint, MXFP4_NAME, { maxMemory: 1000 })).rejects.toMatchObject({ exitCode: 6 })
    using one = await loadMatrix(checkpoint, "m.q_proj.weight")
    const x = new Float32Array(8)
    expect(() => one.multiply(x, undefined, { activation: "swiglu" })).toThrow("was not loaded for swiglu")
    expect(() => one.multiply(x, undefined, { arithmetic: "int8" })).toThrow("float arithmetic only")
  })

  test("a reference whose file is gone", async () => {
    const path = writeModel(folder, weights.tensors, "gone.safetensors")
    using matrix = await loadMatrix(await openCheckpoint(path), MXFP4_NAME)
    rmSync(path)
    const x = normal(64, 1)
    await expect(matrix.reference(x)).rejects.toMatchObject({ exitCode: 5 })
    expect(matrix.multiply(x)).toHaveLength(32)
  })

  test("a signal that has fired, or fires", async () => {
    const signal = AbortSignal.abort()
    await expect(use({ signal })).rejects.toMatchObject({ exitCode: 130 })
    const controller = new AbortController()
    const onProgress = () => controller.abort()
    await expect(use({ signal: controller.signal, onProgress })).rejects.toMatchObject({ exitCode: 130 })
  })
})

test("many matrices come and go without growing the process", async () => {
  const checkpoint = await openCheckpoint(writeModel(folder, mxfp4(1, 512, 512, 3).tensors))
  const x = normal(512, 1)
  const once = async () => {
    using matrix = await loadMatrix(checkpoint, MXFP4_NAME)
    matrix.multiply(x)
  }
  for (let i = 0; i < 50; i++) await once()
  Bun.gc(true)
  const before = process.memoryUsage.rss()
  for (let i = 0; i < 300; i++) await once()
  Bun.gc(true)
  expect(process.memoryUsage.rss() - before).toBeLessThan(48 * 2 ** 20)
}, 60_000)
