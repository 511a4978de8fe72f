/** The kernels' levels that this CPU lacks, on emulated CPUs. Minutes long, so only on demand: see README.md. */
import { describe, expect, test } from "bun:test"
import { runAarch64 } from "./aarch64.ts"
import { runAvx512 } from "./avx512.ts"
import { formatResults, type LevelResult } from "./report.ts"
import { findBochs, findQemu } from "./tools.ts"

const MINUTES = 60_000

const wanted = process.env.DEQUANTIZER_EMULATION === "1"
const bochs = wanted ? findBochs() : "DEQUANTIZER_EMULATION=1 runs them"
const qemu = wanted ? findQemu() : ""
const noBochs = typeof bochs === "string" ? ` (skipped: ${bochs})` : ""
const noQemu = wanted ? " (skipped: no qemu-aarch64-static here)" : " (skipped: DEQUANTIZER_EMULATION=1 runs them)"

function expectAllPassed(results: readonly LevelResult[]) {
  const report = formatResults(results)
  process.stderr.write(report)
  expect(results.filter((result) => result.fault !== "").map((result) => result.level)).toEqual([])
}

describe.skipIf(noBochs !== "")(`levels of other x86-64 CPUs in Bochs${noBochs}`, () => {
  const run = async () => {
    if (typeof bochs === "string") throw new Error(bochs)
    expectAllPassed(await runAvx512(bochs))
  }
  test("pass on a CPU that has the level and nothing beyond it", run, 40 * MINUTES)
})

describe.skipIf(qemu === "")(`levels of aarch64 CPUs in qemu${qemu === "" ? noQemu : ""}`, () => {
  const run = async () => {
    const results = await runAarch64(qemu)
    expect(results.length).toBeGreaterThan(0)
    expectAllPassed(results)
  }
  test("pass on a CPU that has the level and nothing beyond it", run, 20 * MINUTES)
})
