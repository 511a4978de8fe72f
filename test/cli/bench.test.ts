import { describe, expect, test } from "bun:test"
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { temporaryFolder } from "../support/checkpoints.ts"
import { BIN, plainEnvironment, run } from "./program.ts"

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

  test("products of a made-up weight", async () => {
    const options = ["--kind", "matvec", "--shape", "96x64", "--time", "10ms", "-j", "1", "--level", "scalar", "--json"]
    const { stdout, stderr, exitCode } = await run(["bench", ...options])
    expect(stderr).toBe("")
    const { rows } = JSON.parse(stdout)
    expect(rows.map((row: { arithmetic: string }) => row.arithmetic)).toEqual(["int8", "float"])
    for (const row of rows) {
      expect(row).toMatchObject({ kind: "matvec", codec: "mxfp4", rows: 96, columns: 64, level: "scalar", workers: 1 })
      expect(row.flop_per_second * row.seconds_median).toBeCloseTo(2 * 96 * 64, 3)
      expect(row.limits[0].name).toBe("read")
    }
    expect(exitCode).toBe(0)
  })

  test("a checkpoint: its weights multiplied, and converted; the source stays as it is", async () => {
    using folder = temporaryFolder()
    const path = join(import.meta.dir, "..", "fixtures", "tiny-gpt-oss")
    const env = plainEnvironment({ TMPDIR: folder.path })
    const matvec = await run(["bench", path, "--kind", "matvec", "--time", "10ms", "--json"], { env })
    expect(JSON.parse(matvec.stdout).rows.length).toBeGreaterThan(0)
    const convert = await run(["bench", path, "--kind", "convert", "--time", "10ms", "--json"], { env })
    const { rows } = JSON.parse(convert.stdout)
    expect(rows).toHaveLength(1)
    expect(rows[0]).toMatchObject({ kind: "convert", source: path })
    expect(rows[0].runs).toBeGreaterThanOrEqual(3)
    expect(rows[0].limits[0].name).toBe("cp")
    expect(readdirSync(folder.path)).toEqual([])
  })

  test("--html: a page or a picture, beside the table", async () => {
    using folder = temporaryFolder()
    const kind = ["bench", "--kind", "stream", "--time", "1ms", "-j", "1", "--html"]
    const page = await run([...kind, folder.file("bench.html")])
    expect(page.stdout).toStartWith("memory\n")
    expect(readFileSync(folder.file("bench.html"), "utf8")).toMatch(/^<!doctype html>\n.*<\/html>\n$/s)
    expect((await run([...kind, folder.file("bench.svg"), "-q"])).stdout).toBe("")
    expect(readFileSync(folder.file("bench.svg"), "utf8")).toMatch(/^<\?xml .*<\/svg>\n$/s)
    writeFileSync(folder.file("mine"), "mine")
    const refused = await run([...kind, folder.file("mine")])
    expect(refused.stderr).toBe(`dequantizer: ${folder.file("mine")}: exists; remove it, or name another file\n`)
    expect(refused.exitCode).toBe(6)
    expect(readFileSync(folder.file("mine"), "utf8")).toBe("mine")
    const nowhere = await run([...kind, "/nowhere/bench.html"])
    expect(nowhere.stderr).toBe("dequantizer: /nowhere/bench.html: no such file or folder\n")
    expect(nowhere.exitCode).toBe(5)
  })

  test("a signal ends it, and nothing stays behind", async () => {
    using folder = temporaryFolder()
    const html = folder.file("bench.html")
    const rooms = () =>
      existsSync("/dev/shm") ? readdirSync("/dev/shm").filter((name) => name.includes("-bench-")) : []
    const before = rooms()
    const child = Bun.spawn(
      [BIN, "bench", "--kind", "convert", "--time", "1min", "--html", html, "--progress", "json"],
      {
        env: plainEnvironment({ TMPDIR: folder.path }),
        stdio: ["ignore", "pipe", "pipe"],
      },
    )
    // The first event comes before the first row is measured.
    for await (const _ of child.stderr) break
    child.kill("SIGINT")
    expect(await child.exited).toBe(130)
    expect(readdirSync(folder.path)).toEqual([])
    expect(rooms()).toEqual(before)
  })

  test("a path that there is not", async () => {
    const { stderr, exitCode } = await run(["bench", "/nowhere/model", "--kind", "convert"])
    expect(stderr).toBe("dequantizer: /nowhere/model: no such file or folder\n")
    expect(exitCode).toBe(5)
  })

  test.each([
    [["--codec", "mxpf4"], '--codec: "mxpf4" is no codec; did you mean mxfp4?'],
    [["--codec", "copy"], /^--codec: "copy" is no codec; /],
    [["--kind", "decod"], /^--kind: "decod" is none of all, .*; did you mean decode\?$/],
    [["--time", "soon"], '--time: "soon" is not a time such as 3s, 500ms or 2min'],
    [["--time", "0"], '--time: "0" is not a time such as 3s, 500ms or 2min'],
    [["--shape", "2880"], /^--shape: "2880" is not rows x columns such as 2880x2880, /],
    [["--shape", "64x33"], /^--shape: "64x33" is not rows x columns /],
    [["--shape", "64x64", "--kind", "decode"], "--shape is for --kind matvec"],
    [["a", "--kind", "stream"], "--kind stream takes no path; matvec and convert measure a checkpoint"],
    [
      ["--codec", "q4_k", "--kind", "convert"],
      /^--kind convert makes up weights of mxfp4, fp8_e4m3 alone, not of q4_k; /,
    ],
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
