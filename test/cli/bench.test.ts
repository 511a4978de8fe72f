import { describe, expect, test } from "bun:test"
import { run } from "./program.ts"

describe("bench", () => {
  test("memory, by every number of threads", async () => {
    const { stdout, stderr, exitCode } = await run(["bench", "--kind", "stream", "--time", "10ms", "-j", "2"])
    expect(stderr).toBe("")
    expect(stdout).toMatch(/^memory\nTHREADS {2}ACCESS +GB\/S +TIME +± +RUNS\n/)
    for (const threads of [1, 2]) {
      for (const access of ["read", "copy", "copy around the caches", "write around the caches"]) {
        expect(stdout).toMatch(
          new RegExp(`\\n +${threads} {2}${access} +\\d+\\.\\d +\\d\\S* ms +\\d+\\.\\d % +[3-9]\\d*\\n`),
        )
      }
    }
    expect(exitCode).toBe(0)
  })

  test("a codec in every way: dtypes, layouts, levels, threads", async () => {
    const options = ["--kind", "decode", "--codec", "Q8_0", "--time", "10ms", "-j", "2", "--json"]
    const { stdout, exitCode } = await run(["bench", ...options])
    const { schema, machine, rows } = JSON.parse(stdout)
    expect(schema).toBe(1)
    const doctor = JSON.parse((await run(["doctor", "--json"])).stdout)
    const levels: string[] = doctor.machine.levels.flatMap((level: { name: string; supported: boolean }) =>
      level.supported ? [level.name] : [],
    )
    expect(machine.level).toBe(levels[0])
    const ways = rows.map((row: Record<string, unknown>) => [row.threads, row.level, row.to, row.layout].join(" "))
    const expected = [2, 1].flatMap((threads) =>
      levels.flatMap((level) =>
        ["bf16", "f16", "f32"].flatMap((to) => ["rows", "transposed"].map((layout) => [threads, level, to, layout])),
      ),
    )
    expect(ways.toSorted()).toEqual(expected.map((way) => way.join(" ")).toSorted())
    for (const row of rows) {
      expect(row).toMatchObject({ kind: "decode", codec: "q8_0" })
      expect(row.runs).toBeGreaterThanOrEqual(3)
      expect(row.seconds_min).toBeLessThanOrEqual(row.seconds_median)
      expect(row.seconds_median).toBeLessThanOrEqual(row.seconds_max)
      // 34 bytes for 32 values, and as many elements.
      const values = row.bytes_written / (row.to === "f32" ? 4 : 2)
      expect(row.bytes_read).toBe((values / 32) * 34)
      expect(row.values_per_second * row.seconds_median).toBeCloseTo(values, 0)
      expect(row.limits.map(({ name }: { name: string }) => name)).toEqual(["copy", "write"])
      for (const { share } of row.limits) expect(share).toBeGreaterThan(0)
    }
    expect(exitCode).toBe(0)
  })

  test("one level", async () => {
    const options = ["--kind", "decode", "--time", "1ms", "-j", "1", "--level", "scalar", "--codec", "mxfp4"]
    const { stdout, exitCode } = await run(["bench", ...options])
    expect(stdout.match(/^mxfp4 +(bf16|f16|f32) +(rows|transposed) +scalar +1 /gm)).toHaveLength(6)
    expect(exitCode).toBe(0)
  })

  test.each([
    [["--codec", "mxpf4"], '--codec: "mxpf4" is no codec; did you mean mxfp4?'],
    [["--codec", "copy"], /^--codec: "copy" is no codec; /],
    [["--kind", "decod"], /^--kind: "decod" is none of all, .*; did you mean decode\?$/],
    [["--time", "soon"], '--time: "soon" is not a time such as 3s, 500ms or 2min'],
    [["--time", "0"], '--time: "0" is not a time such as 3s, 500ms or 2min'],
    [["--level", "avx9"], /^level "avx9" is unknown; levels: /],
  ])("%j is refused", async (args, message) => {
    const { stdout, stderr, exitCode } = await run(["bench", ...args])
    expect(stdout).toBe("")
    expect(stderr).toMatch(/^dequantizer: [^\n]+\n$/)
    expect(stderr.slice("dequantizer: ".length, -1)).toEqual(
      typeof message === "string" ? message : expect.stringMatching(message),
    )
    expect(exitCode).toBe(2)
  })
})
