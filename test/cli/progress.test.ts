import { describe, expect, test } from "bun:test"
import { type ProgressSink, progressReporter } from "../../src/ui/progress.ts"
import { palette } from "../../src/ui/terminal.ts"
import { textWidth } from "../../src/ui/text.ts"
import type { RunProgress } from "../../src/writer/types.ts"

/** A sink with a clock that the test turns. */
function recorder(width = 80) {
  const state = { time: 100, width, written: [] as string[] }
  const sink: ProgressSink = {
    write: (text) => state.written.push(text),
    now: () => state.time,
    width: () => state.width,
    unicode: false,
    paint: palette(false),
  }
  return { state, sink }
}

const at = (gigabytes: number, changes: Partial<RunProgress> = {}): RunProgress => ({
  phase: "convert",
  bytesDone: gigabytes * 1e9,
  bytesTotal: 10e9,
  tensor: "model.layers.17.mlp.experts.gate_up_proj",
  ...changes,
})

/** What the terminal shows of a redrawn line. */
const shown = (text: string | undefined): string => (text ?? "").replace("\r", "").replace("\u001b[K", "")

describe("bar", () => {
  test("bytes, rate, time left and tensor, in one line that is replaced", () => {
    const { state, sink } = recorder(110)
    const reporter = progressReporter("bar", sink)
    reporter.update(at(0))
    state.time += 1
    reporter.update(at(2))
    expect(state.written[1]?.startsWith("\r")).toBe(true)
    expect(shown(state.written[1])).toBe(
      "converting  20%  #####-------------------  2.00 GB of 10.0 GB  2.00 GB/s  0:04 left  …lp.experts.gate_up_proj",
    )
    reporter.close()
    expect(state.written.at(-1)).toBe("\r\u001b[K")
  })

  test("rows of a table are counted, without a rate", () => {
    const { state, sink } = recorder(110)
    const reporter = progressReporter("bar", sink)
    const rows = (done: number) =>
      reporter.update({ phase: "measure", unit: "rows", bytesDone: done, bytesTotal: 50, tensor: "decode q4_k" })
    rows(0)
    state.time += 2
    rows(10)
    expect(shown(state.written[1])).toBe(
      "measuring  20%  #####-------------------     10 of 50 rows            0:08 left  decode q4_k",
    )
  })

  test("at most ten redraws a second, and at once when the phase turns", () => {
    const { state, sink } = recorder()
    const reporter = progressReporter("bar", sink)
    for (let i = 0; i < 1000; i++) {
      state.time += 0.001
      reporter.update(at(i / 1000))
    }
    expect(state.written.length).toBeGreaterThanOrEqual(9)
    expect(state.written.length).toBeLessThanOrEqual(11)
    const before = state.written.length
    reporter.update(at(0, { phase: "verify" }))
    expect(state.written.length).toBe(before + 1)
    expect(shown(state.written.at(-1))).toStartWith("verifying   0%")
  })

  test.each([20, 30, 40, 50, 60, 70, 80, 100, 132, 200])("fits a terminal of %d columns", (width) => {
    const { state, sink } = recorder(width)
    const reporter = progressReporter("bar", sink)
    reporter.update(at(0, { tensor: "重み.".repeat(40) }))
    state.time += 7
    reporter.update(at(3.3, { tensor: "重み.".repeat(40) }))
    for (const line of state.written) expect(textWidth(shown(line))).toBeLessThan(width)
  })

  test("a terminal that is made narrower is heeded at the next redraw", () => {
    const { state, sink } = recorder(120)
    const reporter = progressReporter("bar", sink)
    reporter.update(at(0))
    state.time += 1
    state.width = 44
    reporter.update(at(1))
    expect(textWidth(shown(state.written[1]))).toBeLessThan(44)
  })

  test("the rate is that of the last seconds", () => {
    const { state, sink } = recorder(200)
    const reporter = progressReporter("bar", sink)
    reporter.update(at(0))
    for (let i = 1; i <= 20; i++) {
      state.time += 1
      reporter.update(at(i <= 10 ? i * 0.1 : 1 + (i - 10) * 0.5))
    }
    expect(shown(state.written.at(-1))).toContain("500 MB/s")
  })

  test("control characters of a tensor's name do not reach the terminal", () => {
    const { state, sink } = recorder(200)
    progressReporter("bar", sink).update(at(1, { tensor: "\u001b[2Jname\n" }))
    expect(shown(state.written[0])).toContain("\\x1b[2Jname\\n")
  })

  test("nothing to do is all of it", () => {
    const { state, sink } = recorder()
    progressReporter("bar", sink).update({ phase: "finish", bytesDone: 0, bytesTotal: 0, tensor: undefined })
    expect(shown(state.written[0])).toStartWith("finishing 100%")
  })
})

describe("plain", () => {
  test("a line every ten seconds, none for a short run", () => {
    const { state, sink } = recorder()
    const reporter = progressReporter("plain", sink)
    for (let i = 0; i <= 200; i++) {
      reporter.update(at(i / 40))
      state.time += 0.125
    }
    reporter.close()
    expect(state.written).toEqual([
      "converting: 20%, 2.00 GB of 10.0 GB, 200 MB/s, 0:40 left, model.layers.17.mlp.experts.gate_up_proj\n",
      "converting: 40%, 4.00 GB of 10.0 GB, 200 MB/s, 0:30 left, model.layers.17.mlp.experts.gate_up_proj\n",
    ])
  })
})

describe("title", () => {
  test("stands once above what is drawn, and never among JSON", () => {
    for (const form of ["bar", "plain", "json"] as const) {
      const { state, sink } = recorder()
      const reporter = progressReporter(form, sink, "13.8 GB in")
      for (let i = 0; i <= 30; i++) {
        reporter.update(at(i / 10))
        state.time += 1
      }
      const titles = state.written.filter((text) => text === "13.8 GB in\n")
      expect(titles).toHaveLength(form === "json" ? 0 : 1)
      if (form !== "json") expect(state.written[0]).toBe("13.8 GB in\n")
    }
  })
})

describe("json", () => {
  test("one object a line: the first, ten a second, the last of each phase once", () => {
    const { state, sink } = recorder()
    const reporter = progressReporter("json", sink)
    for (let i = 0; i <= 10; i++) {
      reporter.update(at(i))
      state.time += 0.03
    }
    reporter.update(at(10))
    reporter.update(at(10))
    const events = state.written.map((line) => JSON.parse(line))
    expect(state.written.every((line) => line.endsWith("}\n"))).toBe(true)
    expect(events[0]).toEqual({
      schema: 1,
      event: "progress",
      phase: "convert",
      bytes_done: 0,
      bytes_total: 10e9,
      bytes_per_second: null,
      eta_seconds: null,
      tensor: "model.layers.17.mlp.experts.gate_up_proj",
    })
    expect(events.map((event) => event.bytes_done / 1e9)).toEqual([0, 4, 8, 10])
  })
})
