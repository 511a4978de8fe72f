/**
 * Runs one job and prints, as JSON, the most memory that this process had during it beyond what it had before, and
 * what the job says of its own: bun test/native/peak-memory.ts <source> <target> <io> <transposed> <memory>
 *
 * The source holds codes and scales of 4 matrices of 2048 × 4096 in MXFP4.
 */
import { readFileSync, writeFileSync } from "node:fs"
import type { IoModeName } from "../../src/native/abi.gen.ts"
import { runJob } from "../../src/native/job.ts"
import { encodeTestPlan, mxfp4Step, settings } from "./plan.ts"

/** Bytes of a line of /proc/self/status. */
function memoryOf(key: "VmRSS" | "VmHWM"): number {
  const line = readFileSync("/proc/self/status", "utf8").match(new RegExp(`^${key}:\\s+(\\d+) kB$`, "m"))
  if (line === null) throw new Error(`/proc/self/status has no ${key}`)
  return Number(line[1]) * 1024
}

const [source = "", target = "", io, transposed, memory] = process.argv.slice(2)
const step = mxfp4Step(
  { batch: 4, rows: 2048, columns: 4096 },
  { file: 0, offset: 0, target: 0 },
  { dtype: "bf16", transposed: transposed === "true" },
)
const plan = encodeTestPlan({ sources: [source], targets: [{ path: target, head: new Uint8Array(8) }], steps: [step] })
const options = { ...settings, io: io as IoModeName, targetIo: io as IoModeName, memoryMax: Number(memory) }
Bun.gc(true)
// Resets the peak (proc(5)).
writeFileSync("/proc/self/clear_refs", "5")
const before = memoryOf("VmRSS")
const report = await runJob(plan.bytes, options)
console.log(JSON.stringify({ status: report.status, grown: memoryOf("VmHWM") - before, reported: report.memoryBytes }))
