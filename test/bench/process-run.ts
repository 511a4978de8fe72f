/** Runs of other programs, timed from start to end, with the most memory that they held. */

export interface ProcessRun {
  readonly seconds: number
  /** Time on CPUs, of all threads together, in user and in kernel code: what a busy machine distorts least. */
  readonly cpuSeconds: number
  /** Peak resident set in bytes, mapped file pages included (ru_maxrss). */
  readonly peakRss: number
  /** What it wrote to stdout. */
  readonly output: string
}

/** Runs a command to its end. Throws with its stderr where it fails. */
export async function runProcess(...command: string[]): Promise<ProcessRun> {
  const start = performance.now()
  // No .pyc files beside scripts.
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: "1" }
  const child = Bun.spawn(command, { stdio: ["ignore", "pipe", "pipe"], env })
  const [output, errors, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  const seconds = (performance.now() - start) / 1000
  if (code !== 0) throw new Error(`${command[0]} ended with ${code}: ${errors}`)
  const usage = child.resourceUsage()!
  return { seconds, cpuSeconds: Number(usage.cpuTime.total) / 1e6, peakRss: usage.maxRSS, output }
}

/** The middle value; of an even count, the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
