/** Scales that no arithmetic can use, and FP8 tensors that have none. */
import { describe, expect, test } from "bun:test"
import { mkdirSync, writeFileSync } from "node:fs"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { MalformedError } from "../../src/errors.ts"
import { decodeMatrix } from "../../src/native/decode.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import type { MissingScale } from "../../src/schemes/scheme.ts"
import { runPlan } from "../../src/writer/run.ts"
import type { RunOptions } from "../../src/writer/types.ts"
import { verifyOutput } from "../../src/writer/verify.ts"
import { type TensorInput, temporaryFolder, writeSafetensors } from "../support/checkpoints.ts"
import { readTensors, tree } from "./fixture.ts"

function f32(name: string, shape: readonly number[], ...values: readonly number[]): TensorInput {
  return { name, dtype: "F32", shape, bytes: new Uint8Array(new Float32Array(values).buffer) }
}

function bytes(name: string, dtype: string, shape: readonly number[], value: number): TensorInput {
  const count = shape.reduce((product, size) => product * size, 1)
  return { name, dtype, shape, bytes: new Uint8Array(count).fill(value) }
}

function withByte(tensor: TensorInput, at: number, value: number): TensorInput {
  const changed = tensor.bytes.slice()
  changed[at] = value
  return { ...tensor, bytes: changed }
}

const CODES = bytes("m.weight", "F8_E4M3", [4, 64], 0x38)
const PACKED = bytes("m.weight_packed", "U8", [4, 32], 0x21)
const GROUPS = bytes("m.weight_scale", "F8_E4M3", [4, 4], 0x38)
const WEIGHT = bytes("m.weight", "U8", [4, 32], 0x21)

const bad: [title: string, tensor: string, tensors: readonly TensorInput[]][] = [
  ["NaN among the rows' scales", "m.weight_scale", [CODES, f32("m.weight_scale", [4, 1], 1, 2, Number.NaN, 4)]],
  [
    "an infinite scale of a tensor",
    "m.weight_scale_inv",
    [CODES, f32("m.weight_scale_inv", [], -Number.POSITIVE_INFINITY)],
  ],
  ["NaN in a block", "m.weight_scale_inv", [CODES, f32("m.weight_scale_inv", [2, 2], 1, 1, 1, Number.NaN)]],
  [
    "a BF16 infinity",
    "m.weight_scale",
    [CODES, { name: "m.weight_scale", dtype: "BF16", shape: [1], bytes: new Uint8Array([0x80, 0x7f]) }],
  ],
  [
    "an E4M3 NaN in a group",
    "m.weight_scale",
    [PACKED, withByte(GROUPS, 13, 0xff), f32("m.weight_global_scale", [1], 2)],
  ],
  ["a zero that divides", "m.weight_global_scale", [PACKED, GROUPS, f32("m.weight_global_scale", [1], 0)]],
  ["an infinite scale of the whole", "m.weight_scale_2", [WEIGHT, GROUPS, f32("m.weight_scale_2", [], 1 / 0)]],
  [
    "NaN among the columns' scales",
    "m.pre_quant_scale",
    [WEIGHT, GROUPS, f32("m.weight_scale_2", [], 1), f32("m.pre_quant_scale", [64], ...Array(63).fill(1), Number.NaN)],
  ],
]

const INT8 = bytes("m.weight", "I8", [4, 64], 3)

/** NF4 codes of [4, 64] with their state. */
function nf4(settings: Record<string, unknown>): TensorInput[] {
  const state = { quant_type: "nf4", blocksize: 64, dtype: "bfloat16", shape: [4, 64], ...settings }
  const text = new TextEncoder().encode(JSON.stringify(state))
  const name = "m.weight.quant_state.bitsandbytes__nf4"
  return [bytes("m.weight", "U8", [128, 1], 0x1f), { name, dtype: "U8", shape: [text.length], bytes: text }]
}

const NESTED = nf4({ nested_blocksize: 2, nested_dtype: "float32", nested_offset: 0.5 })
const MAP = f32("m.weight.nested_quant_map", [256], ...Array.from({ length: 256 }, (_, i) => i / 256))
/** Five bits in a group of 128, which no other bits can be. */
const WORDS = { ...bytes("m.weight", "U32", [4, 80], 0x35), shape: [4, 20] }

bad.push(
  ["NaN among the absmax", "m.weight.absmax", [...nf4({}), f32("m.weight.absmax", [4], 1, Number.NaN, 1, 1)]],
  [
    "an infinite scale of absmax",
    "m.weight.nested_absmax",
    [...NESTED, bytes("m.weight.absmax", "U8", [4], 7), f32("m.weight.nested_absmax", [2], 1, 1 / 0), MAP],
  ],
  ["an infinite absmax of a row", "m.SCB", [INT8, f32("m.SCB", [4], 1, 1 / 0, 1, 1)]],
  ["NaN among the scales of integers", "m.weight_scale", [INT8, f32("m.weight_scale", [4, 1], 1, 1, 1, Number.NaN)]],
  [
    "NaN among MLX's biases",
    "m.biases",
    [WORDS, f32("m.scales", [4, 1], 1, 1, 1, 1), f32("m.biases", [4, 1], 0, 0, Number.NaN, 0)],
  ],
)

async function convert(tensors: readonly TensorInput[], options: Partial<RunOptions>, missingScale?: MissingScale) {
  const folder = temporaryFolder()
  writeSafetensors(folder.file("in.safetensors"), tensors)
  const plan = planConversion(
    await openCheckpoint(folder.file("in.safetensors")),
    missingScale === undefined ? {} : { missingScale },
  )
  const output = folder.file("out.safetensors")
  try {
    return { folder, report: await runPlan(plan, { output, ...options }), fault: undefined }
  } catch (fault) {
    return { folder, report: undefined, fault }
  }
}

describe.each(bad)("%s", (_, tensor, tensors) => {
  test.each(["mmap", "pread"] as const)("is a fault of the file, and nothing is left (%s)", async (io) => {
    const { folder, fault } = await convert(tensors, { io })
    using _folder = folder
    expect(fault).toBeInstanceOf(MalformedError)
    expect(String(fault)).toContain(`tensor "${tensor}": holds a scale that is NaN or infinite`)
    expect(tree(folder.path)).toEqual(["in.safetensors"])
  })

  test("--non-finite allow converts it", async () => {
    const { folder, report, fault } = await convert(tensors, { nonFinite: "allow", verify: "full" })
    using _folder = folder
    expect(fault).toBeUndefined()
    expect(report!.nonFinite.count).toBeGreaterThan(0)
  })
})

describe("groups of rows", () => {
  const words = (name: string, shape: readonly number[], ...values: readonly number[]): TensorInput => ({
    name,
    dtype: "I32",
    shape,
    bytes: new Uint8Array(Int32Array.from(values).buffer),
  })
  const scales = new Uint8Array(new Uint16Array(64).fill(0x3c00).buffer)
  const gptq = (order: readonly number[]): TensorInput[] => [
    words("m.qweight", [2, 32], ...Array(64).fill(0x76543210)),
    { name: "m.scales", dtype: "F16", shape: [2, 32], bytes: scales },
    words("m.g_idx", [16], ...order),
  ]
  const config = { quantization_config: { quant_method: "gptq", bits: 4, group_size: 8, sym: true } }

  async function convertGptq(order: readonly number[], io: "mmap" | "pread", options: Partial<RunOptions> = {}) {
    const folder = temporaryFolder()
    mkdirSync(folder.file("in"))
    writeSafetensors(folder.file("in", "model.safetensors"), gptq(order))
    writeFileSync(folder.file("in", "config.json"), JSON.stringify(config))
    const plan = planConversion(await openCheckpoint(folder.file("in")))
    try {
      return { folder, report: await runPlan(plan, { output: folder.file("out"), io, ...options }), fault: undefined }
    } catch (fault) {
      return { folder, report: undefined, fault }
    }
  }

  test.each(["mmap", "pread"] as const)("that there are not are a fault of the file (%s)", async (io) => {
    for (const wrong of [2, -3, 0x7fffffff]) {
      const { folder, fault } = await convertGptq([0, 1, 0, 1, ...Array(11).fill(1), wrong], io)
      using _folder = folder
      expect(fault).toBeInstanceOf(MalformedError)
      expect(String(fault)).toContain('tensor "m.g_idx": names a group that there is not')
      expect(tree(folder.path).filter((name) => name.startsWith("out"))).toEqual([])
    }
  })

  test("are NaN with --non-finite allow", async () => {
    const { folder, report } = await convertGptq([0, 1, ...Array(13).fill(0), 7], "pread", { nonFinite: "allow" })
    using _folder = folder
    expect(report!.nonFinite.count).toBe(32)
  })

  test("count from the last one where they are negative", async () => {
    const { folder, fault } = await convertGptq([0, -1, ...Array(13).fill(-2), 1], "mmap", { verify: "full" })
    using _folder = folder
    expect(fault).toBeUndefined()
  })
})

const good: readonly [title: string, nonFinite: number, tensors: readonly TensorInput[]][] = [
  ["a zero that multiplies", 0, [WEIGHT, GROUPS, f32("m.weight_scale_2", [], 0)]],
  ["a NaN code under a good scale", 1, [withByte(CODES, 7, 0x7f), f32("m.weight_scale", [], 1)]],
  ["a product beyond F32", 256, [bytes("m.weight", "F8_E4M3", [4, 64], 0x7e), f32("m.weight_scale", [], 1e38)]],
  ["an E8M0 scale of 255", 256, [CODES, bytes("m.weight_scale", "U8", [4, 2], 255)]],
]

test.each(good)("%s is no fault of a scale", async (_, nonFinite, tensors) => {
  const { folder, report, fault } = await convert(tensors, { verify: "full" })
  using _folder = folder
  expect(fault).toBeUndefined()
  expect(report!.nonFinite.count).toBe(nonFinite)
})

describe("FP8 tensors without scales", () => {
  const tensors = [bytes("m.weight", "F8_E5M2", [4, 64], 0x3e), f32("m.norm", [2], 1, 2)]

  test("are a fault by default, with the way out", async () => {
    using folder = temporaryFolder()
    writeSafetensors(folder.file("in.safetensors"), tensors)
    const checkpoint = await openCheckpoint(folder.file("in.safetensors"))
    expect(() => planConversion(checkpoint)).toThrow(/"m.weight": FP8 codes without scales/)
  })

  test.each([
    ["one", "BF16"],
    ["copy", "F8_E5M2"],
  ] as const)("--missing-scale %s makes %s of them", async (missingScale, dtype) => {
    const { folder, fault } = await convert(tensors, { verify: "full" }, missingScale)
    using _folder = folder
    expect(fault).toBeUndefined()
    const found = readTensors(folder.file("out.safetensors")).get("m.weight")!
    expect(found.dtype).toBe(dtype)
    // 1.5 in either dtype.
    expect([...found.bytes.subarray(0, 2)]).toEqual(dtype === "BF16" ? [0xc0, 0x3f] : [0x3e, 0x3e])
    const report = await verifyOutput(folder.file("out.safetensors"), { source: folder.file("in.safetensors") })
    expect(report.problems).toEqual([])
    expect(report.ok).toBe(true)
    expect((await verifyOutput(folder.file("out.safetensors"))).ok).toBe(true)
  })
})

test("the MXFP4 scale 255 of the dtype F8_E8M0 is NaN", () => {
  const { bytes: found, nonFiniteCount } = decodeMatrix({
    codec: "mxfp4",
    dtype: "f32",
    rows: 1,
    columns: 32,
    parameters: [2],
    sources: [
      { bytes: new Uint8Array(16).fill(0x10), rowsPerLine: 1, lineBytes: 16, unitColumns: 32, unitBytes: 16 },
      { bytes: new Uint8Array([255]), rowsPerLine: 1, lineBytes: 1, unitColumns: 32, unitBytes: 1 },
    ],
  })
  expect(nonFiniteCount).toBe(32)
  expect(new Float32Array(found.buffer).every(Number.isNaN)).toBe(true)
})
