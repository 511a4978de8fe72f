/** Logs of emulated machines, good and broken: none but a whole and good one may count as passed. */
import { describe, expect, test } from "bun:test"
import { cpioArchive, MODE_CONSOLE, MODE_FOLDER, MODE_PROGRAM } from "./cpio.ts"
import { formatResults, judge, passedTests, readLog } from "./report.ts"

const PROGRAMS = ["levels", "test-avx512", "test-library"]

const GOOD = [
  "[    2.5] Failed to access perfctr msr (MSR c8 is 0)\r\n",
  "begin levels\r\navx512\r\navx2\r\nend levels exit 0\r\n",
  "begin test-avx512\r\n1/2 level.test.a...OK\r\n2/2 level.test.b...OK\r\nAll 2 tests passed.\r\n",
  "end test-avx512 exit 0\r\n",
  "begin test-library\r\n3 passed; 1 skipped; 0 failed.\r\nend test-library exit 0\r\n",
  "done\r\n",
].join("")

describe("the serial log of a guest", () => {
  test("programs, what they print and how they end", () => {
    const tests = "1/2 level.test.a...OK\n2/2 level.test.b...OK\nAll 2 tests passed.\n"
    expect(readLog(GOOD)).toEqual([
      { name: "levels", output: "avx512\navx2\n", how: "exit 0" },
      { name: "test-avx512", output: tests, how: "exit 0" },
      { name: "test-library", output: "3 passed; 1 skipped; 0 failed.\n", how: "exit 0" },
    ])
    expect(judge("avx512", PROGRAMS, readLog(GOOD))).toEqual({ passed: 5, fault: "" })
  })

  const upTo = (text: string) => GOOD.slice(0, GOOD.indexOf(text))
  const without = (program: string) => GOOD.replace(new RegExp(`begin ${program}[^]*end ${program} exit 0`), "")
  test.each([
    ["a machine that did not boot", "Kernel panic - not syncing\r\n", "levels did not start"],
    ["tests cut off by the time limit", upTo("end test-avx512"), "test-avx512 ended with none"],
    ["a machine switched off early", upTo("begin test-library"), "test-library did not start"],
    ["a missing CPU instruction", GOOD.replace("test-avx512 exit 0", "test-avx512 signal 4"), "ended with signal 4"],
    ["a test that failed", GOOD.replace("test-avx512 exit 0", "test-avx512 exit 1"), "test-avx512 ended with exit 1"],
    ["no test at all", GOOD.replace("All 2", "All 0"), "test-avx512 says of no test that it passed"],
    [
      "a runner that says nothing",
      GOOD.replace(/3 passed.*failed\./, ""),
      "test-library says of no test that it passed",
    ],
    ["level tests that are not there", without("test-avx512"), "test-avx512 did not start"],
    ["detection that misses the level", GOOD.replace("levels\r\navx512\r\n", "levels\r\n"), 'detection chose "avx2"'],
    ["detection that finds nothing", GOOD.replace("avx512\r\navx2\r\n", ""), 'detection chose ""'],
    ["detection that faults", GOOD.replace("levels exit 0", "levels signal 11"), "levels ended with signal 11"],
    ["no detection", without("levels"), "levels did not start"],
  ])("%s is a fault", (_, log, fault) => {
    expect(judge("avx512", PROGRAMS, readLog(log)).fault).toContain(fault)
  })

  test("counts of a run with failed and skipped tests", () => {
    expect(passedTests("9 passed; 0 skipped; 3 failed.\n")).toBe(9)
    expect(passedTests("11 passed; 1 skipped; 0 failed.\n")).toBe(11)
    expect(passedTests("say: All 3 tests passed. Really\n")).toBe(0)
  })

  test("a failed level shows its output, a good one its count", () => {
    const level = { cpu: "c", passed: 2, output: "the log\n", seconds: 1.2 }
    const results = [
      { ...level, level: "a", fault: "" },
      { ...level, level: "b", fault: "its tests ended with exit 1" },
    ]
    expect(formatResults(results)).toBe(
      "a on c: 2 tests passed (1 s)\nthe log\nb on c: FAILED: its tests ended with exit 1 (1 s)\n",
    )
  })
})

test("an initramfs: headers, names and data at multiples of four, devices, the trailer", () => {
  const archive = cpioArchive([
    { name: "dev", mode: MODE_FOLDER },
    { name: "dev/console", mode: MODE_CONSOLE, device: [5, 1] },
    { name: "init", mode: MODE_PROGRAM, data: new TextEncoder().encode("12345") },
  ])
  const text = new TextDecoder("latin1").decode(archive)
  const found: unknown[] = []
  let at = 0
  while (at < text.length) {
    expect(text.slice(at, at + 6)).toBe("070701")
    const field = (index: number) => Number.parseInt(text.slice(at + 6 + 8 * index, at + 14 + 8 * index), 16)
    const name = text.slice(at + 110, at + 110 + field(11) - 1)
    const begin = (at + 110 + field(11) + 3) & ~3
    found.push([name, field(1), field(9), field(10), text.slice(begin, begin + field(6))])
    at = (begin + field(6) + 3) & ~3
  }
  expect(at).toBe(text.length)
  expect(found).toEqual([
    ["dev", MODE_FOLDER, 0, 0, ""],
    ["dev/console", MODE_CONSOLE, 5, 1, ""],
    ["init", MODE_PROGRAM, 0, 0, "12345"],
    ["TRAILER!!!", 0, 0, 0, ""],
  ])
})
