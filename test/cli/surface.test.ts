import { describe, expect, test } from "bun:test"
import manifest from "../../package.json" with { type: "json" }
import { loadSpecs } from "../../src/commands/table.ts"
import { run } from "./program.ts"

const specs = await loadSpecs()
const names = specs.map((spec) => spec.name)

describe("help", () => {
  test("the first screen", async () => {
    const { stdout, stderr, exitCode } = await run([])
    expect(stdout).toMatchSnapshot()
    expect(stderr).toBe("")
    expect(exitCode).toBe(0)
    for (const args of [["help"], ["--help"], ["-h"], ["-q", "--help"]]) expect((await run(args)).stdout).toBe(stdout)
  })

  test.each(names)("%s", async (name) => {
    const { stdout, stderr, exitCode } = await run(["help", name])
    expect(stdout).toMatchSnapshot()
    expect(stderr).toBe("")
    expect(exitCode).toBe(0)
    expect(stdout.split("\n").filter((line) => line.length > 80)).toEqual([])
    if (name === "help") return
    for (const flag of ["-h", "--help"]) expect((await run([name, flag])).stdout).toBe(stdout)
    expect((await run(["--help", name])).stdout).toBe(stdout)
  })

  test("an alias has the screen of its command", async () => {
    expect((await run(["help", "dequantize"])).stdout).toBe((await run(["help", "convert"])).stdout)
  })

  test("every option of the parser stands on the screen of its command", async () => {
    for (const spec of specs) {
      const { stdout } = await run(["help", spec.name])
      for (const option of Object.keys(spec.options)) expect(stdout).toContain(`--${option}`)
    }
  })

  test("colour where it is asked for", async () => {
    expect((await run(["help", "--color", "always"])).stdout).toContain("\u001b[1m")
    expect((await run(["help", "--color=never"])).stdout).not.toContain("\u001b")
    expect((await run(["help"])).stdout).not.toContain("\u001b")
  })
})

describe("version", () => {
  test.each([[["--version"]], [["-V"]], [["inspect", "--version"]], [["-V", "--quiet"]]])("%j", async (args) => {
    const { stdout, exitCode } = await run(args)
    expect(stdout).toBe(`dequantizer ${manifest.version}\n`)
    expect(exitCode).toBe(0)
  })

  test("as JSON", async () => {
    expect(JSON.parse((await run(["--version", "--json"])).stdout)).toEqual({ schema: 1, version: manifest.version })
  })
})

describe("usage errors are one line and exit 2", () => {
  test.each([
    [["hlep"], 'unknown command "hlep", and there is no file of that name; did you mean help?'],
    [["quantize"], 'unknown command "quantize", and there is no file of that name; did you mean dequantize?'],
    [["xyzzy"], 'unknown command "xyzzy", and there is no file of that name; dequantizer help lists the commands'],
    [["help", "convret"], 'unknown command "convret"; did you mean convert?'],
    [["--froce"], "unknown option --froce"],
    [["inspect"], "<path> is missing"],
    [["inspect", ""], "<path> is empty"],
    [["inspect", "a", "b"], 'unexpected argument "b"'],
    [["inspect", "a", "--tensor"], "unknown option --tensor; did you mean --tensors?"],
    [["inspect", "a", "--sort", "shape"], '--sort: "shape" is none of offset, name, size'],
    [["convert", "a"], "-o is missing: where should the output go?"],
    [["convert", "a", "-o"], "-o needs a value (FILE|DIR)"],
    [["convert", "a", "-o", "b", "--to", "int8"], '--to: "int8" is none of bf16, f16, f32'],
    [["convert", "a", "-o", "b", "--keep-dtypes", "--cast-all"], "--keep-dtypes and --cast-all exclude each other"],
    [
      ["convert", "a", "-o", "b", "--shard-size", "big"],
      '--shard-size: "big" is not a size such as 5GB or 512MiB or one of keep, single',
    ],
    [["convert", "a", "-o", "b", "--resume", "--force"], "--resume and --force exclude each other"],
    [["convert", "a", "-o", "b", "-j", "-1"], "-j needs a value (N); found -1; if that is the value, write -j-1"],
    [["convert", "a", "-o", "b", "-j-1"], '-j: "-1" is not a whole number from 0 to 4096'],
    [["verify", "a", "--full", "--sample", "3", "--source", "b"], "--full and --sample exclude each other"],
    [["verify", "a", "--full"], "--full needs --source: without it only the structure is checked"],
    [["completion"], "<shell> is missing"],
    [["completion", "tcsh"], '"tcsh" is none of bash, zsh, fish'],
    [["completion", "bash", "--json"], "completion has no --json form"],
    [["--progress", "fancy", "inspect", "a"], '--progress: "fancy" is none of auto, plain, json, none'],
    [["inspect", "--\u001b[2J"], "unknown option --\\x1b[2J"],
  ])("%j", async (args, message) => {
    const { stdout, stderr, exitCode } = await run(args)
    expect(stdout).toBe("")
    expect(stderr).toBe(`dequantizer: ${message}\n`)
    expect(exitCode).toBe(2)
  })

  test("global options may stand before the command", async () => {
    const { stderr, exitCode } = await run(["--progress", "none", "-q", "--color=never", "convert", "a"])
    expect(stderr).toBe("dequantizer: -o is missing: where should the output go?\n")
    expect(exitCode).toBe(2)
  })

  test("the variable for the threads is judged as the option is", async () => {
    const env = { PATH: "/usr/bin", DEQUANTIZER_THREADS: "many" }
    const { stderr, exitCode } = await run(["verify", "a"], { env })
    expect(stderr).toBe('dequantizer: DEQUANTIZER_THREADS: "many" is not a whole number from 0 to 4096\n')
    expect(exitCode).toBe(2)
  })
})
