/**
 * Properties of products over random shapes, which are multiples of nothing, at random levels, batches, threads and
 * activations. A test's name has its seed; `DEQUANTIZER_SEED=N bun test test/matvec/property.test.ts` runs that one alone.
 */
import { afterAll, afterEach, describe, expect, test } from "bun:test"
import { rmSync } from "node:fs"
import { loadMatrix, machineInfo, openCheckpoint, selectLevel } from "../../src/index.ts"
import type { ActivationName, ArithmeticName, MatrixFacts } from "../../src/matrix/matrix.ts"
import { randomWords, temporaryFolder } from "../support/checkpoints.ts"
import { CODED_KINDS, int8Product, KINDS, type Kind, type Model, quantizeActivations, SPAN } from "./coded.ts"
import { activations } from "./formulas.ts"
import { normal, plainProduct } from "./model.ts"

const folder = temporaryFolder()
afterAll(() => folder[Symbol.dispose]())

const { level: best, levels } = machineInfo()
const supported = levels.filter((level) => level.supported).map((level) => level.name)
afterEach(() => selectLevel(best))

/** The same seeds in every run, and new ones. */
const { DEQUANTIZER_SEED } = process.env
const fresh = Math.floor(Date.now() / 1000) % 1_000_000_000
const seeds =
  DEQUANTIZER_SEED === undefined
    ? Array.from({ length: 60 }, (_, i) => (i < 30 ? i : fresh + i))
    : [Number(DEQUANTIZER_SEED)]

interface Case {
  readonly model: Model
  readonly x: Float32Array
  readonly batch: number
  readonly threads: number
  readonly expert: number
  readonly level: string
  readonly next: () => number
}

function makeCase(seed: number, kinds: readonly Kind[]): Case {
  const next = randomWords(seed)
  const pick = <T>(all: readonly T[]): T => all[next() % all.length]!
  // Shapes of a few rows or columns have paths of their own.
  const dimension = () => 1 + (next() % pick([8, 40, 300]))
  const size = { experts: 1 + (next() % 3), rows: dimension(), columns: dimension() }
  const model = pick(kinds)(folder, size, seed)
  const batch = 1 + (next() % 16)
  const x = activationsOf(next, model.columns * batch, seed)
  const expert = next() % model.experts
  return { model, x, batch, threads: 1 + (next() % 4), expert, level: pick(supported), next }
}

/** Of any size, with zeros, and now and then one that is far larger than its neighbours. */
function activationsOf(next: () => number, count: number, seed: number): Float32Array {
  const size = 2 ** ((next() % 21) - 10)
  return normal(count, seed + 1).map((value) => {
    const word = next() % 64
    return word === 0 ? 0 : value * size * (word === 1 ? 50 : 1)
  })
}

async function multiply(
  one: Case,
  arithmetic: Exclude<ArithmeticName, "auto">,
  activation: ActivationName = "none",
  bias?: Float32Array,
): Promise<{ readonly y: Float32Array; readonly facts: MatrixFacts }> {
  const { model, x, threads, expert } = one
  const { quantize } = model
  selectLevel(one.level)
  using matrix = await loadMatrix(await openCheckpoint(model.path), model.name, {
    threads,
    arithmetic,
    activation,
    ...(quantize === undefined ? {} : { quantize }),
  })
  const options = { arithmetic, activation, expert, ...(bias === undefined ? {} : { bias }) }
  return { y: matrix.multiply(x, undefined, options), facts: matrix.facts }
}

/** For each sum: Σ |weight| · half a step of its activation, and the root of Σ (weight · activation)². */
function sizesOf({ model, x, expert, batch }: Case): { steps: Float64Array; terms: Float64Array } {
  const { rows, columns } = model
  const values = model.values[expert]!
  const steps = new Float64Array(rows * batch)
  const terms = new Float64Array(rows * batch)
  for (let b = 0; b < batch; b++) {
    const column = x.subarray(b * columns, (b + 1) * columns)
    const { scales } = quantizeActivations(column)
    for (let row = 0; row < rows; row++) {
      for (let c = 0; c < columns; c++) {
        const weight = values[row * columns + c]!
        steps[b * rows + row]! += Math.abs(weight) * (scales[Math.floor(c / SPAN)]! / 2)
        terms[b * rows + row]! += (weight * column[c]!) ** 2
      }
    }
  }
  return { steps, terms: terms.map(Math.sqrt) }
}

/** Largest error of each sum. */
function boundsOf(one: Case, arithmetic: "float" | "int8"): Float64Array {
  const { steps, terms } = sizesOf(one)
  const share = 1e-6 * Math.sqrt(one.model.columns)
  // A code is rounded from a quotient that f32 has rounded before: a little more than half a step.
  return terms.map((size, i) => share * size + (arithmetic === "int8" ? steps[i]! * 1.0001 : 0) + 1e-30)
}

function expectWithin(found: ArrayLike<number>, expected: ArrayLike<number>, bounds: ArrayLike<number>): void {
  expect(found.length).toBe(expected.length)
  for (let i = 0; i < expected.length; i++) {
    const [y, exact, bound] = [found[i]!, expected[i]!, bounds[i]!]
    if (!(Math.abs(y - exact) <= bound)) throw new Error(`result ${i} is ${y}, not ${exact} within ${bound}`)
  }
}

function activationsFor(rows: number): ActivationName[] {
  const single = ["none", "relu", "silu", "gelu", "gelu_tanh"] as const
  return rows % 2 === 0 ? [...single, "swiglu", "swiglu_oss"] : [...single]
}

/** How far an activation can carry errors of its sums: no slope is above 1.2, and it rounds three times itself. */
function carried(activation: ActivationName, sums: Float64Array, bounds: Float64Array): Float64Array {
  const rounding = 4 * 2 ** -24
  const single = (i: number) => 1.2 * bounds[i]! + rounding * Math.abs(sums[i]!)
  if (activation !== "swiglu" && activation !== "swiglu_oss") return sums.map((_, i) => single(i))
  const half = sums.length / 2
  return Float64Array.from({ length: half }, (_, i) => {
    const [gate, up] = activation === "swiglu" ? [i, half + i] : [2 * i, 2 * i + 1]
    const most = Math.abs(sums[up]!) + 1 + bounds[up]!
    return single(gate) * most + Math.abs(sums[gate]!) * bounds[up]! + rounding * Math.abs(sums[gate]!) * most
  })
}

describe.each(seeds)("seed %d", (seed) => {
  test("sums are those of the f64 product, after bias and activation too", async () => {
    const one = makeCase(seed, KINDS)
    const { rows, columns } = one.model
    const arithmetic = one.model.coded !== undefined && one.next() % 2 === 0 ? "int8" : "float"
    const choices = activationsFor(rows)
    const activation = choices[one.next() % choices.length]!
    const bias = normal(rows, seed + 2)
    const exact = plainProduct(one.model, one.x, one.expert)
    const bounds = boundsOf(one, arithmetic)
    const { y, facts } = await multiply(one, arithmetic)
    expect(facts).toMatchObject({ rows, columns, experts: one.model.experts, level: one.level, arithmetic })
    expectWithin(y, exact, bounds)
    const activated = await multiply(one, arithmetic, activation, bias)
    const each = activated.y.length / one.batch
    for (let b = 0; b < one.batch; b++) {
      const range = [b * rows, (b + 1) * rows] as const
      const sums = exact.subarray(...range).map((sum, i) => sum + bias[i]!)
      // Adding the bias rounds once more.
      const wider = bounds.subarray(...range).map((bound, i) => bound + 2 ** -24 * Math.abs(sums[i]!))
      const found = activated.y.subarray(b * each, (b + 1) * each)
      expectWithin(found, activations[activation](sums), carried(activation, sums, wider))
    }
    rmSync(one.model.path)
  })

  test("int8 sums are exact within a block, and have the same bits at every level", async () => {
    const one = makeCase(seed, CODED_KINDS)
    const expected = int8Product(one.model, one.model.coded!, one.x, one.expert)
    for (const level of supported) expect((await multiply({ ...one, level }, "int8")).y).toEqual(expected)
    // The whole against the f64 product, in which nothing is rounded.
    expectWithin(expected, plainProduct(one.model, one.x, one.expert), boundsOf(one, "int8"))
    rmSync(one.model.path)
  })
})
