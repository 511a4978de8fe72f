import { expect, test } from "bun:test"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import type { SafetensorsDtype } from "../../src/containers/dtype.ts"
import { RefusedError } from "../../src/errors.ts"
import * as abi from "../../src/native/abi.gen.ts"
import { readStruct, viewOf } from "../../src/native/struct.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import { describePlan, summarizePlan } from "../../src/plan/describe.ts"
import { encodePlan } from "../../src/plan/encode.ts"
import { measurePlan } from "../../src/plan/measure.ts"
import { compareUtf8, sortInFile, sortNaturally } from "../../src/plan/order.ts"
import { temporaryFolder, writeSafetensors } from "../support/checkpoints.ts"
import { denseTensors, writeGptOssFolder } from "../support/models.ts"

async function smallPlan() {
  using folder = temporaryFolder()
  writeGptOssFolder(folder.file("in"), { layers: 1 }, 2)
  return planConversion(await openCheckpoint(folder.file("in")), { to: "F16", castAll: true })
}

test("the buffer says what the plan says", async () => {
  const plan = await smallPlan()
  const targets = plan.shards.map((shard) => ({ ...shard, path: `/out/é/${shard.name}` }))
  const { bytes, files, steps } = encodePlan(targets)
  const view = viewOf(bytes)
  const start = readStruct(view, 0, abi.Plan)
  expect(start).toMatchObject({ hash: abi.ABI_HASH, file_count: 4, step_count: steps.length })
  const textStart = bytes.length - Number(start.text_size)
  const entries = files.map((_, i) => readStruct(view, abi.Plan.size + i * abi.File.size, abi.File))
  const text = (offset: bigint, size: bigint | number) =>
    bytes.subarray(textStart + Number(offset), textStart + Number(offset) + Number(size))
  for (const [i, entry] of entries.entries()) {
    expect(new TextDecoder().decode(text(entry.path_offset, entry.path_size))).toBe(files[i]!.path)
    expect(Number(entry.size)).toBe(files[i]!.size)
  }
  expect(entries.map(({ role }) => role)).toEqual([0, 0, 1, 1])
  expect(text(entries[2]!.head_offset, entries[2]!.head_size)).toEqual(plan.shards[0]!.head)
  expect(entries[0]!.mtime_ns).toBe(plan.checkpoint.shards[0]!.file.mtimeNs)

  const stepsStart = abi.Plan.size + files.length * abi.File.size
  const weight = steps.findIndex(({ name }) => name.endsWith("gate_up_proj"))
  const step = readStruct(view, stepsStart + weight * abi.Step.size, abi.Step)
  expect(step).toMatchObject({ codec: abi.Codec.mxfp4, dtype: abi.Dtype.f16, transposed: 1, source_count: 2 })
  expect([step.batch_count, step.rows, step.columns]).toEqual([3n, 192n, 64n])
  const cast = steps.findIndex(({ name }) => name === "lm_head.weight")
  expect(readStruct(view, stepsStart + cast * abi.Step.size, abi.Step)).toMatchObject({
    codec: abi.Codec.bf16,
    dtype: abi.Dtype.f16,
    rows: 1n,
    columns: 2560n,
    target_size: 5120n,
  })
})

test("empty tensors make no step, and the native library accepts the rest", async () => {
  using folder = temporaryFolder()
  writeSafetensors(folder.file("in.safetensors"), denseTensors())
  const plan = planConversion(await openCheckpoint(folder.file("in.safetensors")))
  const { steps } = encodePlan(plan.shards.map((shard) => ({ ...shard, path: shard.name })))
  expect(steps.length).toBe(plan.shards[0]!.tensors.length - 1)
  expect(steps.map(({ name }) => name)).not.toContain("encoder.empty")
  expect(measurePlan(plan).tiles).toBeGreaterThanOrEqual(steps.length)
})

test("measure: threads and memory within the limit; a limit that is too small is refused", async () => {
  const plan = await smallPlan()
  const measure = measurePlan(plan, { threads: 1, maxMemory: 2 ** 30, io: "pread" })
  expect(measure).toMatchObject({ threads: 1, io: "pread" })
  expect(measure.memoryBytes).toBeGreaterThan(0)
  expect(measure.memoryBytes).toBeLessThanOrEqual(2 ** 30)
  expect(() => measurePlan(plan, { maxMemory: 1 })).toThrow(RefusedError)
  expect(() => measurePlan(plan, { maxMemory: 1 })).toThrow(/memory limit of 1 B/)
})

test("the summary in lines", async () => {
  const plan = await smallPlan()
  const measure = { threads: 2, io: "mmap", targetIo: "mmap", tiles: 9, memoryBytes: 3 * 2 ** 20 } as const
  const lines = describePlan(summarizePlan(plan, { measure, freeBytes: 10 ** 12 }))
  expect(`\n${lines.join("\n")}\n`).toMatchInlineSnapshot(`
    "
    tensors  20: 2 weights decoded to F16, 18 cast, 0 copied
    files    7, of them 2 shards
    read     66.9 kB (66,894 bytes)
    write    152 kB (152,171 bytes)
    memory   3 MiB of buffers, 2 threads
    free     1.00 TB (1,000,000,000,000 bytes)
    "
  `)
})

test("tensors in a file have the order of the reference writer", () => {
  // Order of `safetensors.serialize` 0.8.0 for one tensor of each dtype, read off its output.
  const order: SafetensorsDtype[] = ["U64", "I64", "F64", "C64", "F32", "U32", "I32", "BF16", "F16", "U16", "I16"]
  const bytes: SafetensorsDtype[] = [
    "F8_E5M2FNUZ",
    "F8_E4M3FNUZ",
    "F8_E8M0",
    "F8_E4M3",
    "F8_E5M2",
    "I8",
    "U8",
    "F4",
    "BOOL",
  ]
  const tensors = [...order, ...bytes].flatMap((dtype) =>
    ["B", "a", "\x7f", "é", "\uffff", "😀"].map((name) => ({ name, dtype })),
  )
  expect(sortInFile(tensors.toReversed())).toEqual(tensors)
  const plain = tensors.filter(({ name }) => name < "\ud800")
  expect(sortInFile(plain.toReversed())).toEqual(plain)
})

test("natural order", () => {
  const order = [
    "a",
    "a.1",
    "a.02",
    "a.2",
    "a.10",
    "a.10.b",
    "a.99999999999999999998",
    "a.99999999999999999999",
    "a.b",
    "b",
  ]
  const items = order.map((name) => ({ name }))
  expect(sortNaturally(items.toReversed())).toEqual(items)
})

test("names are ordered as their UTF-8 bytes", () => {
  const names = ["", "a", "ab", "é", "\ud7ff", "\ue000", "\uffff", "\u{10000}", "\u{10ffff}", "a\u{10000}", "a\uffff"]
  const pairs = names.flatMap((a) => names.map((b) => [a, b] as const))
  for (const [a, b] of pairs) {
    expect(Math.sign(compareUtf8(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)))
  }
})
