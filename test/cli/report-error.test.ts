import { describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import {
  CancelledError,
  CheckError,
  IoError,
  MalformedError,
  RefusedError,
  UnsupportedError,
  UsageError,
} from "../../src/errors.ts"
import { describeFailure } from "../../src/ui/report-error.ts"

describe("a failure", () => {
  test.each([
    [new CheckError("a: differs"), "dequantizer: a: differs", 1],
    [
      new UsageError("unknown option --x", { hint: "did you mean --y?" }),
      "dequantizer: unknown option --x; did you mean --y?",
      2,
    ],
    [new MalformedError("a: no header"), "dequantizer: a: no header", 3],
    [new UnsupportedError("a: AQLM"), "dequantizer: a: AQLM", 4],
    [new IoError("a: gone"), "dequantizer: a: gone", 5],
    [new RefusedError("a: exists", { hint: "--force replaces it" }), "dequantizer: a: exists; --force replaces it", 6],
    [new CancelledError("SIGINT"), "dequantizer: cancelled", 130],
    [new CancelledError("SIGTERM"), "dequantizer: cancelled", 143],
    [new CancelledError("SIGHUP"), "dequantizer: cancelled", 143],
  ])("%#: exit code and line", (error, line, exitCode) => {
    expect(describeFailure(error)).toEqual({ line, exitCode, stack: undefined })
  })

  test("a system call that nobody gave a sentence is an I/O error", () => {
    let caught: unknown
    try {
      readFileSync("/no/such/file")
    } catch (error) {
      caught = error
    }
    expect(describeFailure(caught)).toMatchObject({ exitCode: 5, stack: undefined })
    expect(describeFailure(caught).line).toContain("ENOENT")
  })

  test("a fault of ours says so and keeps its stack for -v", () => {
    const failure = describeFailure(new TypeError("undefined is not an object"))
    expect(failure.line).toBe("dequantizer: internal fault: undefined is not an object; -v shows where")
    expect(failure.exitCode).toBe(70)
    expect(failure.stack).toContain("report-error.test.ts")
    expect(describeFailure("thrown text").exitCode).toBe(70)
  })

  test("is one line whatever is in it", () => {
    const { line } = describeFailure(new MalformedError('a\u001b[2J: tensor "x\ny\u202e"'))
    expect(line).toBe('dequantizer: a\\x1b[2J: tensor "x\\ny\\u202e"')
  })
})
