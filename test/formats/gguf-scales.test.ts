/** Scales of GGUF blocks that are no numbers: faults of the file, unless they are let pass. */
import { describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { GGML_BLOCKS, GGML_TYPES } from "../../src/containers/ggml-type.ts"
import { MalformedError } from "../../src/errors.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import { runPlan } from "../../src/writer/run.ts"
import type { RunOptions } from "../../src/writer/types.ts"
import { temporaryFolder } from "../support/checkpoints.ts"
import { f32, type GgufTensor, ggufBytes } from "../support/gguf-file.ts"

/** Where a block has an f16 scale (formats.md of ggml: ggml-common.h); IQ1_M spreads it over four nibbles. */
const SCALE_AT: Readonly<Record<string, number>> = {
  Q2_K: 80,
  Q3_K: 108,
  Q6_K: 208,
  TQ1_0: 52,
  TQ2_0: 64,
}

async function convert(tensors: readonly GgufTensor[], nonFinite: RunOptions["nonFinite"]) {
  using folder = temporaryFolder()
  writeFileSync(folder.file("m.gguf"), ggufBytes({ tensors }))
  const plan = planConversion(await openCheckpoint(folder.file("m.gguf")))
  return await runPlan(plan, { output: folder.file("out"), nonFinite })
}

/** Three rows of two blocks; the last one's scale has the bits of f16 infinity. */
function tensorOf(type: (typeof GGML_TYPES)[number]): GgufTensor {
  const { id, columns, bytes } = GGML_BLOCKS[type]
  const blocks = new Uint8Array(6 * bytes)
  const last = 5 * bytes
  // The high nibbles of four words, the lowest first: 0x7c00.
  if (type === "IQ1_M") blocks.set([0, 0, 0, 0, 0, 0xc0, 0, 0x70], last + 48)
  else blocks.set([0x00, 0x7c], last + (SCALE_AT[type] ?? 0))
  return { name: "w.weight", type: id, dimensions: [2 * columns, 3], bytes: blocks }
}

describe("an infinite scale", () => {
  const types = GGML_TYPES.filter((type) => type !== "MXFP4" && type !== "NVFP4")
  test.each(types)("of %s", async (type) => {
    const run = convert([tensorOf(type)], "warn")
    await expect(run).rejects.toThrow(/tensor "w.weight": holds a scale that is NaN or infinite/)
    await expect(run).rejects.toBeInstanceOf(MalformedError)
    const report = await convert([tensorOf(type)], "allow")
    expect(report.nonFinite).toMatchObject({ tensor: "w.weight" })
    expect(report.nonFinite.count).toBeGreaterThan(0)
  })

  test("of a whole NVFP4 tensor", async () => {
    const weight = { name: "w.weight", type: 40, dimensions: [64], bytes: new Uint8Array(36).fill(0x11) }
    const scale = (value: number) => ({ name: "w.scale", type: 0, dimensions: [1], bytes: f32(value) })
    await expect(convert([weight, scale(Number.NaN)], "warn")).rejects.toThrow(/tensor "w.scale": holds a scale/)
    expect(await convert([weight, scale(2)], "warn")).toMatchObject({ nonFinite: { count: 0 } })
  })
})

test("E8M0 255 is no fault: ggml gives numbers for small codes", async () => {
  const { id, bytes } = GGML_BLOCKS.MXFP4
  const block = new Uint8Array(bytes).fill(0x19, 1)
  block[0] = 255
  const report = await convert([{ name: "w.weight", type: id, dimensions: [32], bytes: block }], "error")
  expect(report.nonFinite.count).toBe(0)
})
