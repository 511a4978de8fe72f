/** `npm test`: builds everything, runs the Zig and the Bun tests, and ends with one line over all suites. */
import { join } from "node:path"
import { buildExecutable } from "./executable.ts"
import { root, run, runMain } from "./project.ts"
import { findZig } from "./zig.ts"

interface Counts {
  passed: number
  failed: number
  skipped: number
}

/** Runs a suite, showing its output as it comes and keeping it for the counts. */
async function runSuite(command: readonly string[], environment: Record<string, string>) {
  const child = Bun.spawn([...command], {
    cwd: root,
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  })
  let text = ""
  const follow = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder()
    for await (const chunk of stream) {
      process.stderr.write(chunk)
      text += decoder.decode(chunk, { stream: true })
    }
  }
  await Promise.all([follow(child.stdout), follow(child.stderr)])
  return { text, code: await child.exited }
}

function lastNumber(text: string, pattern: RegExp): number {
  const last = [...text.matchAll(pattern)].at(-1)
  return last === undefined ? 0 : Number(last[1])
}

/** A suite that exits with a fault counts as failed even where no single test says so. */
function settle(counts: Counts, code: number): Counts {
  if (code !== 0 && counts.failed === 0) return { ...counts, failed: 1 }
  if (code === 0 && counts.passed === 0) return { ...counts, failed: counts.failed + 1 }
  return counts
}

async function zigSuite(zig: string): Promise<Counts> {
  const { text, code } = await runSuite([zig, "build", "test", "fuzz", "--summary", "all"], {})
  // "Build Summary: 12/12 steps succeeded; 61/63 tests passed; 1 skipped; 1 failed"
  const summary = text.match(/Build Summary:.*$/m)?.[0] ?? ""
  const passed = lastNumber(summary, /(\d+)\/\d+ tests passed/g)
  const total = lastNumber(summary, /\d+\/(\d+) tests passed/g)
  const skipped = lastNumber(summary, /tests passed;.*?(\d+) skipped/g)
  return settle({ passed, failed: Math.max(0, total - passed - skipped), skipped }, code)
}

async function bunSuite(filters: readonly string[]): Promise<Counts> {
  // A busy machine is no fault: a minute ends only what hangs.
  const { text, code } = await runSuite([process.execPath, "test", "--timeout", "60000", ...filters], {})
  const count = (word: string) => lastNumber(text, new RegExp(`^\\s*(\\d+) ${word}$`, "gm"))
  return settle({ passed: count("pass"), failed: count("fail"), skipped: count("skip") }, code)
}

await runMain(async () => {
  const filters = process.argv.slice(2)
  const executable = await buildExecutable()
  process.env.DEQUANTIZER_BIN ??= executable
  // Other libraries' own results are compared where Python and numpy can be had; without them those tests say so.
  if ((await run([process.execPath, join("test", "reference", "setup.ts"), "numpy"])) !== 0) {
    process.stderr.write("test: no reference Python environment; the tests that need it will be skipped\n")
  }
  const suites = filters.length > 0 ? [] : [await zigSuite(await findZig())]
  suites.push(await bunSuite(filters))
  const sum = (key: keyof Counts) => suites.reduce((total, suite) => total + suite[key], 0)
  const skipped = sum("skipped") > 0 ? `, ${sum("skipped")} skipped` : ""
  process.stdout.write(`${sum("passed")} passed, ${sum("failed")} failed${skipped}\n`)
  return sum("failed") === 0 ? 0 : 1
})
