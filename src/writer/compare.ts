/** Comparing files with what their plan says: every element decoded again by the scalar code, bit for bit. */
import { elementCount } from "../containers/dtype.ts"
import { quote } from "../containers/quote.ts"
import type { JobMismatch } from "../native/job.ts"
import { type EncodedPlan, encodePlan, type TargetFile } from "../plan/encode.ts"
import type { OutputTensor } from "../plan/plan.ts"
import { exceedsCache } from "./io-modes.ts"
import { runWork } from "./job.ts"
import type { Mismatch, VerifyReport, WorkOptions } from "./types.ts"

/** Tiles of each tensor that a sample compares: its start, its end, and two places between them. */
export const SAMPLE_TILES = 4

/** Reads the targets back. `sampleTiles` 0: everything. */
export async function compareTargets(
  targets: readonly TargetFile[],
  sampleTiles: number,
  options: WorkOptions,
): Promise<VerifyReport> {
  const plan = encodePlan(targets)
  const size = targets.reduce((sum, target) => sum + target.size, 0)
  // What is compared is what the device gives, not what the page cache has kept, as far as the whole is compared.
  const modes = { io: options.io ?? "auto", targetIo: "auto", dropCache: exceedsCache(size) } as const
  const report = await runWork(plan, { kind: "verify", sampleTiles, modes }, options)
  return {
    ok: report.mismatch === undefined,
    problems: [],
    tensors: targets.reduce((count, target) => count + target.tensors.length, 0),
    elementsCompared: report.elementsCompared,
    elementsTotal: plan.steps.reduce((count, tensor) => count + comparedElements(tensor), 0),
    mismatchCount: report.mismatch?.count ?? 0,
    first: report.mismatch === undefined ? undefined : locate(report.mismatch, plan),
    seconds: report.seconds,
  }
}

/** What a job counts as elements of a tensor. */
function comparedElements({ origin, shape, size }: OutputTensor): number {
  return origin.kind === "copy" ? size : elementCount(shape)!
}

function locate(mismatch: JobMismatch, { steps }: EncodedPlan): Mismatch {
  const tensor = steps[mismatch.step]!
  return {
    tensor: tensor.name,
    index: mismatch.element,
    dtype: tensor.origin.kind === "copy" ? "bytes" : (tensor.dtype as Mismatch["dtype"]),
    found: mismatch.found,
    expected: mismatch.expected,
  }
}

const DIGITS: Readonly<Record<Mismatch["dtype"], number>> = { bytes: 2, BF16: 4, F16: 4, F32: 8 }

/** `tensor "x": element 5 differs (expected 0x3f80, found 0x3f81); 12 elements differ in all`. */
export function describeMismatch(first: Mismatch, count: number): string {
  const hex = (bits: number) => `0x${bits.toString(16).padStart(DIGITS[first.dtype], "0")}`
  const what = first.dtype === "bytes" ? "byte" : "element"
  const values = `(expected ${hex(first.expected)}, found ${hex(first.found)})`
  const all = count > 1 ? `; ${count} differ in all` : ""
  return `tensor ${quote(first.tensor)}: ${what} ${first.index} differs ${values}${all}`
}
