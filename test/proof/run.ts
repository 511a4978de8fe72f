/**
 * `npm run proof [-- [--long] [--seed N]]`: everything that is tried to break the program, in one run, and at its end how
 * much that was. A step that fails, says no count, or does not end, fails the proof and is shown with its output; the others
 * go on.
 */
import { buildExecutable } from "../../src/build/executable.ts"
import { levelOptions } from "../../src/build/library.ts"
import { BuildError, root, runMain } from "../../src/build/project.ts"
import { findZig } from "../../src/build/zig.ts"
import { formatInteger, formatSeconds } from "../../src/format.ts"
import { COUNTED, type Counted, countsOf, LONG, SHORT, type Step, stepsOf, type Totals } from "./steps.ts"

/** What has not ended by then hangs: several times what the longest step takes on two busy cores. */
const STEP_MS_MAX = 3 * 3600 * 1000

interface Outcome {
  readonly counts: Partial<Totals>
  /** What is wrong, in words; undefined where nothing is. */
  readonly fault: string | undefined
}

async function runStep(step: Step, programs: Readonly<Record<string, string>>): Promise<Outcome> {
  const [program = "", first = "", ...rest] = step.command
  const options = program === "zig" ? levelOptions() : []
  const child = Bun.spawn([programs[program] ?? program, first, ...options, ...rest], {
    cwd: root,
    env: process.env,
    stdio: ["ignore", "pipe", "pipe"],
  })
  let hasHung = false
  const timer = setTimeout(() => {
    hasHung = true
    child.kill("SIGKILL")
  }, STEP_MS_MAX)
  const texts = await Promise.all([child.stdout.text(), child.stderr.text()])
  const code = await child.exited
  clearTimeout(timer)
  const output = texts.join("\n")
  const counts = countsOf(step, output)
  const fault = hasHung
    ? "has not ended"
    : code !== 0
      ? `ended with ${child.signalCode ?? code}`
      : counts === undefined
        ? "said no count"
        : undefined
  if (fault !== undefined) process.stderr.write(`${output}\n`)
  return { counts: fault === undefined ? counts! : {}, fault }
}

function amountsOf(args: readonly string[]) {
  const rest = [...args]
  const at = rest.indexOf("--seed")
  const seed = at < 0 ? Date.now() % 2 ** 32 : Number(rest.splice(at, 2)[1])
  const isLong = rest[0] === "--long"
  if (rest.length > (isLong ? 1 : 0) || !Number.isSafeInteger(seed) || seed < 0)
    throw new BuildError("usage: npm run proof [-- [--long] [--seed N]]")
  return { ...(isLong ? LONG : SHORT), seed }
}

await runMain(async () => {
  const amounts = amountsOf(process.argv.slice(2))
  process.env.DEQUANTIZER_BIN ??= await buildExecutable()
  const programs = { bun: process.execPath, zig: await findZig() }
  const totals = Object.fromEntries(Object.keys(COUNTED).map((key) => [key, 0])) as Record<Counted, number>
  let failed = 0
  process.stdout.write(`proof: seed ${amounts.seed}\n`)
  for (const step of stepsOf(amounts)) {
    const started = performance.now()
    const { counts, fault } = await runStep(step, programs)
    for (const counted of Object.keys(COUNTED) as Counted[]) totals[counted] += counts[counted] ?? 0
    if (fault !== undefined) failed += 1
    const seconds = formatSeconds((performance.now() - started) / 1000)
    process.stdout.write(
      `${fault === undefined ? "ok    " : "FAILED"}  ${step.name}${fault ? `: ${fault}` : ""} (${seconds})\n`,
    )
  }
  const rows = (Object.keys(COUNTED) as Counted[]).map((key) => [formatInteger(totals[key]), COUNTED[key]] as const)
  const width = Math.max(...rows.map(([number]) => number.length))
  process.stdout.write(`\n${rows.map(([number, name]) => `${number.padStart(width)}  ${name}`).join("\n")}\n`)
  process.stdout.write(failed === 0 ? "none lost, none crashed, none hung\n" : `${failed} steps FAILED\n`)
  return failed === 0 ? 0 : 1
})
