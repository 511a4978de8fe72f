/** What the test programs of an emulated CPU said, read from their output or from the guest's serial log. */

export interface Ending {
  name: string
  output: string
  /** "exit 0" is the only good one; "none": the program did not end, or never began. */
  how: string
}

export interface LevelResult {
  level: string
  /** The emulated CPU. */
  cpu: string
  /** Tests that passed. */
  passed: number
  /** What went wrong; empty: every test passed and detection chose this level. */
  fault: string
  output: string
  seconds: number
}

/** The programs that a serial log tells of, between `begin` and `end` lines of the guest's init. */
export function readLog(log: string): Ending[] {
  const endings: Ending[] = []
  let current: Ending | undefined
  for (const line of log.split(/\r*\n/)) {
    const begin = line.match(/^begin (\S+)$/)
    const end = line.match(/^end (\S+) ((?:exit|signal) \d+)$/)
    if (begin !== null) {
      current = { name: begin[1]!, output: "", how: "none" }
      endings.push(current)
    } else if (current !== undefined && end?.[1] === current.name) {
      current.how = end[2]!
      current = undefined
    } else if (current !== undefined) {
      current.output += `${line}\n`
    }
  }
  return endings
}

/** Tests that passed by the last line of Zig's test runner; 0 where there is no such line. */
export function passedTests(output: string): number {
  const all = output.match(/^All (\d+) tests passed\.$/m)
  const some = output.match(/^(\d+) passed; \d+ skipped; \d+ failed\.$/m)
  return Number(all?.[1] ?? some?.[1] ?? 0)
}

/**
 * Judges one level by the endings of its programs: how many tests passed, and the first fault or "".
 * The program `levels` prints the levels that detection finds, best first; the others are tests.
 */
export function judge(level: string, programs: readonly string[], endings: readonly Ending[]) {
  let passed = 0
  let fault = ""
  for (const name of programs) {
    const ending = endings.find((one) => one.name === name)
    const good = passedTests(ending?.output ?? "")
    passed += good
    if (fault !== "") continue
    if (ending === undefined) fault = `${name} did not start`
    else if (ending.how !== "exit 0") fault = `${name} ended with ${ending.how}`
    else if (name !== "levels" && good === 0) fault = `${name} says of no test that it passed`
    else if (name === "levels" && bestLevel(ending) !== level) fault = `detection chose "${bestLevel(ending)}"`
  }
  return { passed, fault }
}

/** The first line that `levels` prints. */
function bestLevel(ending: Ending): string {
  return ending.output.split("\n")[0]!
}

/** One line per level, and the output of each one that failed. */
export function formatResults(results: readonly LevelResult[]): string {
  const lines = results.map((result) => {
    const verdict = result.fault === "" ? `${result.passed} tests passed` : `FAILED: ${result.fault}`
    const line = `${result.level} on ${result.cpu}: ${verdict} (${result.seconds.toFixed(0)} s)`
    return result.fault === "" ? line : `${result.output.trimEnd()}\n${line}`
  })
  return `${lines.join("\n")}\n`
}
