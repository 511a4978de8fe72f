/** What is tried to break the program, in one list: the commands, and where each says how much it has tried. */

/** What is counted, each as the last table names it. */
export const COUNTED = {
  inputs: "malformed inputs tried",
  faults: "faults of system calls injected",
  kills: "runs killed and survived",
  flips: "flipped bits found",
  turns: "openings of a name that was being turned elsewhere",
  fuzz: "fuzz executions",
  blocks: "blocks decoded at every level and compared with the scalar code",
  bytes: "bytes of outputs compared",
} as const satisfies Record<string, string>

export type Counted = keyof typeof COUNTED
export type Totals = Readonly<Record<Counted, number>>

/** Matches a line of a step; its group is the number. */
export type Pattern = readonly [counted: Counted, pattern: RegExp]

export interface Step {
  readonly name: string
  /** `bun` and `zig` stand for the checkout's own. */
  readonly command: readonly string[]
  /** Every one must match: a step that stops counting fails. */
  readonly patterns: readonly Pattern[]
}

/** How often, beside what every run of the tests tries. */
export interface Amounts {
  readonly seed: number
  readonly kills: number
  readonly mutations: number
  readonly nativePlans: number
  readonly blocks: number
  readonly checkpoints: number
  readonly operations: number
}

/** A few minutes. */
export const SHORT: Omit<Amounts, "seed"> = {
  kills: 20,
  mutations: 200_000,
  nativePlans: 200_000,
  blocks: 1_000_000,
  checkpoints: 40,
  operations: 6000,
}

/** Most of an hour of two cores. */
export const LONG: Omit<Amounts, "seed"> = {
  kills: 200,
  mutations: 10_000_000,
  nativePlans: 10_000_000,
  blocks: 100_000_000,
  checkpoints: 2000,
  operations: 200_000,
}

const tests = (...files: readonly string[]) => [
  "bun",
  "test",
  "--timeout",
  "120000",
  ...files.map((file) => `./${file}`),
]

export function stepsOf(amounts: Amounts): readonly Step[] {
  const { seed, kills, mutations, nativePlans, blocks, checkpoints, operations } = amounts
  const fuzz = (name: string, count: number) => ["bun", "test/fuzz/run.ts", name, String(seed), String(count)]
  const native = (name: string, count: number) => ["zig", "build", "fuzz", "--", name, String(seed), String(count)]
  return [
    {
      name: "broken and hostile input, by the executable",
      command: tests("test/cli/broken.test.ts"),
      patterns: [["inputs", /^(\d+) malformed inputs tried/gm]],
    },
    {
      name: "links that are turned",
      command: tests("test/checkpoint/links.test.ts"),
      patterns: [["turns", /^link turned while it was opened: .* of (\d+) times/gm]],
    },
    {
      name: "faults of system calls",
      command: ["zig", "build", "test", "-Dtest-filter=each system call of a job fails"],
      patterns: [["faults", /(\d+) faults of system calls injected/g]],
    },
    {
      name: "conversions killed at random moments and resumed",
      command: ["bun", "test/kill/kill.ts", String(kills), String(seed)],
      patterns: [
        ["kills", /^(\d+) runs killed and survived/gm],
        ["bytes", /outputs of (\d+) bytes compared/g],
      ],
    },
    {
      name: "parts and their finishing killed at random moments and run again",
      command: ["bun", "test/kill/parts.ts", String(Math.ceil(kills / 2)), String(seed)],
      patterns: [
        ["kills", /^(\d+) parts and/gm],
        ["kills", /(\d+) finishings killed and survived/g],
      ],
    },
    {
      name: "bits of outputs that flip",
      command: tests("test/writer/flips.test.ts"),
      patterns: [["flips", /^(\d+) bits flipped in \d+ files, 0 missed/gm]],
    },
    {
      name: "parsers under mutations",
      command: fuzz("parsers", mutations),
      patterns: [["fuzz", /(\d+) inputs, \d+ of them accepted/g]],
    },
    {
      name: "plans of the native library under mutations",
      command: native("plan", nativePlans),
      patterns: [["fuzz", /^(\d+) plans, \d+ of them accepted, none unsound/gm]],
    },
    {
      name: "random checkpoints against a slow decoder",
      command: fuzz("plans", checkpoints),
      patterns: [
        ["fuzz", /(\d+) random checkpoints converted/g],
        ["bytes", /tensors in (\d+) bytes compared/g],
      ],
    },
    {
      name: "native jobs in random orders",
      command: fuzz("jobs", operations),
      patterns: [["fuzz", /(\d+) operations on \d+ jobs/g]],
    },
    {
      name: "random blocks of every codec",
      command: native("decode", blocks),
      patterns: [["blocks", /^(\d+) blocks of \d+ codecs decoded/gm]],
    },
  ]
}

/** The numbers that a step's output has, summed; undefined where one of its patterns finds none. */
export function countsOf(step: Step, output: string): Partial<Totals> | undefined {
  const counts: Partial<Record<Counted, number>> = {}
  for (const [counted, pattern] of step.patterns) {
    const found = [...output.matchAll(pattern)]
    if (found.length === 0) return undefined
    for (const [, number] of found) counts[counted] = (counts[counted] ?? 0) + Number(number)
  }
  return counts
}
