/** matvec on weights of real size, on vectors that are broken, and interrupted. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { formatNpy } from "../../src/matrix/npy.ts"
import { dense, mxfp4, normal, writeModel } from "../matvec/model.ts"
import { temporaryFolder } from "../support/checkpoints.ts"
import { BIN, plainEnvironment, run } from "./program.ts"

const folder = temporaryFolder()
afterAll(() => folder[Symbol.dispose]())

const QKV = "block.0.attn.qkv.weight"
const Q_PROJ = "model.layers.0.self_attn.q_proj.weight"

describe("one attention weight of a model", () => {
  let gptOss = ""
  let llama = ""
  beforeAll(() => {
    gptOss = writeModel(folder, dense(QKV, "BF16", 5120, 2880, 1).tensors, "gpt-oss.safetensors")
    llama = writeModel(folder, dense(Q_PROJ, "BF16", 2048, 2048, 2).tensors, "llama.safetensors")
  }, 60_000)

  test.each([
    ["gpt-oss", QKV, 5120, 2880],
    ["TinyLlama", Q_PROJ, 2048, 2048],
  ] as const)("of %s, dense and rounded to MXFP4", async (model, name, rows, columns) => {
    const path = model === "gpt-oss" ? gptOss : llama
    const product = ["matvec", path, "-t", name, "--check", "--repeat", "3", "--json"]
    const plain = JSON.parse((await run(product)).stdout)
    expect(plain).toMatchObject({ rows, columns, codec: "bf16", arithmetic: "float", packed_bytes: rows * columns * 2 })
    expect(plain.relative_error).toBeLessThan(1e-6 * Math.sqrt(columns))
    const { stdout, exitCode } = await run([...product, "--quantize", "mxfp4"])
    const rounded = JSON.parse(stdout)
    // Codes, and four scales at a time.
    const packed = (rows * columns) / 2 + 4 * rows * Math.ceil(columns / 128)
    expect(rounded).toMatchObject({ codec: "mxfp4", stored_codec: "bf16", packed_bytes: packed })
    expect(rounded.relative_error).toBeLessThan(rounded.relative_error_bound)
    // What four bits cost: far more than the arithmetic, and far less than everything.
    expect(rounded.relative_error_stored).toBeGreaterThan(0.01)
    expect(rounded.relative_error_stored).toBeLessThan(0.3)
    expect(exitCode).toBe(0)
  })

  test("SIGINT ends a measurement that would take hours", async () => {
    const args = ["matvec", gptOss, "-t", QKV, "--repeat", "1000000", "--progress", "json"]
    const child = Bun.spawn([BIN, ...args], { env: plainEnvironment(), stdio: ["ignore", "pipe", "pipe"] })
    let messages = ""
    let isLoaded = false
    for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) {
      messages += chunk
      // Loaded: what follows is the measurement. A second signal would end it without a word.
      if (isLoaded || !/"bytes_done":(\d+),"bytes_total":\1,/.test(messages)) continue
      isLoaded = true
      child.kill("SIGINT")
    }
    expect(await child.stdout.text()).toBe("")
    expect(messages.trimEnd().split("\n").at(-1)).toBe("dequantizer: cancelled")
    expect(await child.exited).toBe(130)
  })
})

describe("vectors that cannot be used", () => {
  const NAME = "block.0.mlp.mlp1_weight"
  const path = writeModel(folder, mxfp4(1, 64, 96, 1).tensors)
  const good = formatNpy({ shape: [96], values: normal(96, 1) })
  const bad = normal(96, 1)
  bad[7] = Number.NaN
  const huge = normal(96, 1)
  huge[95] = 1e30

  test.each([
    ["cut short", good.subarray(0, -3), 3, "its size does not fit its shape"],
    ["no .npy", new Uint8Array(200), 3, "is no .npy file"],
    ["empty", new Uint8Array(0), 3, "is no .npy file"],
    [
      "another length",
      formatNpy({ shape: [95], values: normal(95, 1) }),
      2,
      "has the shape [95], the weight takes [96]",
    ],
    ["transposed", formatNpy({ shape: [96, 2], values: normal(192, 1) }), 2, "has the shape [96, 2]"],
    ["17 vectors", formatNpy({ shape: [17, 96], values: normal(17 * 96, 1) }), 2, "with n up to 16"],
    ["NaN", formatNpy({ shape: [96], values: bad }), 2, "value 7 is NaN: activations are finite"],
    ["beyond 2^88", formatNpy({ shape: [96], values: huge }), 2, "value 95 is 1.0000000150474662e+30: activations"],
  ] as const)("%s", async (_, bytes, code, message) => {
    const input = folder.file("x.npy")
    writeFileSync(input, bytes)
    const { stdout, stderr, exitCode } = await run(["matvec", path, "-t", NAME, "--input", input, "--repeat", "1"])
    expect(stdout).toBe("")
    expect(stderr).toMatch(/^dequantizer: [^\n]+\n$/)
    expect(stderr).toContain(`${input}: `)
    expect(stderr).toContain(message)
    expect(exitCode).toBe(code)
  })

  test("a mistyped weight gets the nearest name", async () => {
    const { stderr, exitCode } = await run(["matvec", path, "-t", "block.0.mlp.mlp1_wieght"])
    expect(stderr).toContain('has no tensor "block.0.mlp.mlp1_wieght"')
    expect(stderr).toContain(`there is "${NAME}"`)
    expect(exitCode).toBe(2)
  })
})
