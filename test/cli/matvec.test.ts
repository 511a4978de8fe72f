import { describe, expect, test } from "bun:test"
import { readFileSync, writeFileSync } from "node:fs"
import { formatNpy, parseNpy } from "../../src/matrix/npy.ts"
import { dense, mxfp4, normal, plainProduct, relativeError, type Stored, writeModel } from "../matvec/model.ts"
import { temporaryFolder } from "../support/checkpoints.ts"
import { run } from "./program.ts"

const NAME = "block.0.mlp.mlp1_weight"
const QKV = "block.0.attn.qkv.weight"
const weights = mxfp4(3, 64, 96, 1)
const qkv = dense(QKV, "BF16", 160, 96, 2)
const bias = dense("block.0.mlp.mlp1_bias", "BF16", 3, 64, 3)
const tensors: readonly Stored[] = [...weights.tensors, ...qkv.tensors, ...bias.tensors]

function npyOf(path: string): Float32Array {
  return parseNpy(path, readFileSync(path)).values
}

describe("matvec", () => {
  test("a dense weight: the result, its speed, and the check", async () => {
    using folder = temporaryFolder()
    const path = writeModel(folder, tensors)
    const { stdout, stderr, exitCode } = await run(["matvec", path, "-t", QKV, "--check", "--repeat", "20"])
    expect(stderr).toBe("")
    expect(stdout).toMatch(/^weight +block\.0\.attn\.qkv\.weight {2}160 × 96\n/)
    expect(stdout).toMatch(/\ntiles +bf16, 30\.7 kB a matrix \(16\.00 bits a weight\)\n/)
    expect(stdout).toMatch(/\ny\[0\.\.8\] +(-?\d\S*( +|\n)){8}/)
    expect(stdout).toMatch(/\ntime +\d+\.\d µs median, \d+\.\d µs p99 of 20\n/)
    expect(stdout).toMatch(/\nweights +\S+ [kMG]B\/s, \d+ % of the \S+ GB\/s that memory gives\n/)
    expect(stdout).toMatch(/\ncompute +\d+\.\d Gflop\/s\n/)
    expect(stdout).toMatch(/\ncheck +relative error \d\.\d\de-[78] against f64 \(bound 9\.80e-6\)\n$/)
    expect(exitCode).toBe(0)
  })

  test("x and y as .npy, with bias, activation and one expert", async () => {
    using folder = temporaryFolder()
    const path = writeModel(folder, tensors)
    const x = normal(96 * 2, 5).map((value) => value / 16)
    writeFileSync(folder.file("x.npy"), formatNpy({ shape: [2, 96], values: x }))
    const sums = plainProduct(weights, x, 2).map((sum, i) => sum + bias.values[0]![2 * 64 + (i % 64)]!)
    const expected = Float64Array.from({ length: 64 }, (_, i) => {
      const at = Math.floor(i / 32) * 64 + 2 * (i % 32)
      const gate = Math.min(sums[at]!, 7)
      return (gate / (1 + Math.exp(-1.702 * gate))) * (Math.max(-7, Math.min(sums[at + 1]!, 7)) + 1)
    })
    const vectors = ["--input", folder.file("x.npy"), "--bias", "block.0.mlp.mlp1_bias", "-o", folder.file("y.npy")]
    const how = ["--expert", "2", "--act", "swiglu-oss", "--arithmetic", "float", "--repeat", "3"]
    const { stderr, exitCode } = await run(["matvec", path, "-t", NAME, ...vectors, ...how])
    expect(stderr).toBe("")
    expect(exitCode).toBe(0)
    const output = parseNpy("y.npy", readFileSync(folder.file("y.npy")))
    expect(output.shape).toEqual([2, 32])
    expect(relativeError(output.values, expected)).toBeLessThan(1e-5)
    // The same values without a header.
    writeFileSync(folder.file("x.f32"), new Uint8Array(x.buffer, x.byteOffset, x.byteLength))
    vectors.splice(1, 1, folder.file("x.f32"))
    await run(["matvec", path, "-t", NAME, ...vectors, ...how])
    expect(npyOf(folder.file("y.npy"))).toEqual(output.values)
  })

  test("a stacked weight without --expert: every matrix of it", async () => {
    using folder = temporaryFolder()
    const path = writeModel(folder, tensors)
    const output = folder.file("y.npy")
    await run(["matvec", path, "-t", NAME, "--seed", "7", "-o", output, "--repeat", "6"])
    const { shape, values } = parseNpy(output, readFileSync(output))
    expect(shape).toEqual([3, 64])
    await run(["matvec", path, "-t", NAME, "--seed", "7", "-o", output, "--expert", "1", "--repeat", "6"])
    expect(npyOf(output)).toEqual(values.slice(64, 128))
    await run(["matvec", path, "-t", NAME, "--seed", "8", "-o", output, "--expert", "1", "--repeat", "6"])
    expect(npyOf(output)).not.toEqual(values.slice(64, 128))
  })

  test("--json and --quantize", async () => {
    using folder = temporaryFolder()
    const path = writeModel(folder, tensors)
    const options = ["--quantize", "mxfp4", "--arithmetic", "int8", "--check", "-j", "2", "--repeat", "9", "--json"]
    const { stdout, exitCode } = await run(["matvec", path, "-t", QKV, ...options])
    const result = JSON.parse(stdout)
    expect(result).toMatchObject({
      schema: 1,
      weight: QKV,
      scheme: "dense",
      rows: 160,
      columns: 96,
      experts: 1,
      codec: "mxfp4",
      batch: 1,
      arithmetic: "int8",
      threads: 2,
      count: 9,
      relative_error_bound: 0.01,
    })
    expect(result.y).toHaveLength(8)
    expect(result.workers[0]).toMatchObject({ node: 0, bound: false })
    expect(result.workers[0].rows[0][0]).toBe(0)
    expect(result.relative_error).toBeGreaterThan(1e-4)
    expect(result.relative_error).toBeLessThan(0.01)
    expect(result.seconds_median).toBeGreaterThan(0)
    expect(exitCode).toBe(0)
  })

  test("every level and both placements give the same int8 sums", async () => {
    using folder = temporaryFolder()
    const path = writeModel(folder, tensors)
    const doctor = JSON.parse((await run(["doctor", "--json"])).stdout)
    const results: Float32Array[] = []
    for (const { name, supported } of doctor.machine.levels) {
      if (!supported) continue
      for (const numa of ["auto", "off"]) {
        const output = folder.file("y.npy")
        const options = ["--arithmetic", "int8", "--act", "silu", "--level", name, "--numa", numa, "--repeat", "1"]
        expect((await run(["matvec", path, "-t", NAME, "-o", output, ...options])).exitCode).toBe(0)
        results.push(npyOf(output))
      }
    }
    expect(results.length).toBeGreaterThan(2)
    for (const result of results) expect(result).toEqual(results[0]!)
  })

  test("a scale that makes weights infinite is told, and fails the check", async () => {
    using folder = temporaryFolder()
    const broken = mxfp4(1, 16, 32, 4)
    broken.tensors[0]!.bytes.fill(0x77)
    broken.tensors[1]!.bytes[3] = 255
    const path = writeModel(folder, broken.tensors)
    const { stderr, exitCode } = await run(["matvec", path, "-t", NAME, "--check", "--repeat", "1"])
    expect(stderr).toContain(`warning: "${NAME}" has 1 scales or values that are NaN or infinite`)
    expect(stderr).toMatch(/\ndequantizer: relative error NaN is beyond the bound of [^\n]+\n$/)
    expect(exitCode).toBe(1)
  })

  const faults: readonly (readonly [string, readonly string[], number, string])[] = [
    ["no weight", [], 2, "matvec needs a weight"],
    ["a name that there is not", ["-t", "w"], 2, 'has no tensor "w"'],
    ["an expert that there is not", ["-t", NAME, "--expert", "3"], 2, "has experts 0 to 2, and no expert 3"],
    ["two sources of x", ["-t", NAME, "--input", "x.npy", "--seed", "1"], 2, "exclude each other"],
    ["a bias that there is not", ["-t", NAME, "--bias", "b"], 2, 'has no tensor "b"'],
    [
      "a bias of another length",
      ["-t", NAME, "--bias", QKV],
      2,
      `tensor "${QKV}": is no bias of this weight (expected [64], found [160, 96])`,
    ],
    ["int8 of a dense weight", ["-t", QKV, "--arithmetic", "int8"], 2, "float arithmetic only"],
    ["an input that is missing", ["-t", NAME, "--input", "/nowhere/x.npy"], 5, "/nowhere/x.npy: no such file"],
    ["an input of another kind", ["-t", NAME, "--input", "/x.txt"], 2, "is neither .npy nor .f32"],
    ["an output that cannot be written", ["-t", NAME, "-o", "/nowhere/y.npy"], 5, "/nowhere/y.npy: no such file"],
  ]
  test.each(faults)("%s", async (_, options, code, message) => {
    using folder = temporaryFolder()
    const path = writeModel(folder, tensors)
    const { stderr, exitCode } = await run(["matvec", path, "--repeat", "1", ...options])
    expect(stderr).toMatch(/^dequantizer: [^\n]+\n$/)
    expect(stderr).toContain(message)
    expect(exitCode).toBe(code)
  })
})
