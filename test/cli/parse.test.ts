import { describe, expect, test } from "bun:test"
import { DequantizerError, UsageError } from "../../src/errors.ts"
import { nearest } from "../../src/nearest.ts"
import { choice, flag, integer, list, size, text } from "../../src/ui/option.ts"
import { parseArguments, requirePositionals } from "../../src/ui/parse.ts"

const options = {
  output: text({ short: "o", value: "FILE|DIR", help: "" }),
  to: choice({ choices: ["bf16", "f16", "f32"], initial: "bf16", help: "" }),
  include: list({ value: "GLOB", help: "" }),
  "shard-size": size({ initial: "keep", words: ["keep", "single"], help: "" }),
  threads: integer({ short: "j", value: "N", min: 0, max: 64, initial: 0, help: "" }),
  sample: integer({ value: "N", min: 1, max: 100, initial: undefined, help: "" }),
  force: flag({ short: "f", help: "" }),
  "dry-run": flag({ short: "n", help: "" }),
  help: flag({ short: "h", help: "" }),
}
const positionals = [{ name: "path", help: "" }]

const parse = (...argv: string[]) => parseArguments(argv, options, positionals, ["help"])

/** The message and hint of the UsageError that the words cause. */
function failure(...argv: string[]): string {
  try {
    parse(...argv)
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError)
    if (error instanceof DequantizerError) return [error.message, error.hint].filter(Boolean).join("; ")
  }
  throw new Error(`${argv.join(" ")} was accepted`)
}

describe("values", () => {
  test("initial values where nothing is given", () => {
    const { values, given } = parse("in")
    expect(values).toEqual({
      output: undefined,
      to: "bf16",
      include: [],
      "shard-size": "keep",
      threads: 0,
      sample: undefined,
      force: false,
      "dry-run": false,
      help: false,
    })
    expect(given.size).toBe(0)
  })

  test.each([
    [["-j4"]],
    [["-j", "4"]],
    [["--threads=4"]],
    [["--threads", "4"]],
    [["-fj4"]],
    [["-fnj", "4"]],
    [["--threads", "9", "-j4"]],
  ])("%j gives four threads", (argv) => {
    const { values, given } = parse(...argv)
    expect(values.threads).toBe(4)
    expect(given.has("threads")).toBe(true)
  })

  test("switches can stand together", () => {
    const { values } = parse("-nf")
    expect([values.force, values["dry-run"]]).toEqual([true, true])
  })

  test("a repeatable option keeps every value in order", () => {
    expect(parse("--include", "a.*", "in", "--include=b").values.include).toEqual(["a.*", "b"])
  })

  test("a value may hold an equals sign and begin with a dash where it is attached", () => {
    expect(parse("--output=a=b").values.output).toBe("a=b")
    expect(parse("--output=-x").values.output).toBe("-x")
    expect(parse("-o-x").values.output).toBe("-x")
    expect(parse("-o", "-").values.output).toBe("-")
  })

  test("sizes and their words", () => {
    expect(parse("--shard-size", "5GB").values["shard-size"]).toBe(5e9)
    expect(parse("--shard-size", "single").values["shard-size"]).toBe("single")
  })

  test("choices are read in any case", () => {
    expect(parse("--to", "F32").values.to).toBe("f32")
  })
})

describe("words", () => {
  test("options may stand on both sides of the path", () => {
    const { values, positionals: found } = parse("-f", "in", "--to=f16")
    expect(found).toEqual(["in"])
    expect([values.force, values.to]).toEqual([true, "f16"])
  })

  test("after -- every word is a path", () => {
    expect(parse("-f", "--", "-j4").positionals).toEqual(["-j4"])
  })

  test("a single dash is a word", () => {
    expect(parse("-").positionals).toEqual(["-"])
  })

  test("what stops the reading is not judged by what follows", () => {
    expect(parse("--help", "--nonsense", "a", "b").values.help).toBe(true)
  })
})

describe("refusals", () => {
  test.each([
    [["--froce"], "unknown option --froce; did you mean --force?"],
    [["--dry"], "unknown option --dry; did you mean --dry-run?"],
    [["--xyzzy"], "unknown option --xyzzy"],
    [["--no-force"], "unknown option --no-force"],
    [["--constructor"], "unknown option --constructor"],
    [["--__proto__=1"], "unknown option --__proto__"],
    [["-x"], "unknown option -x"],
    [["-fx"], "unknown option -x"],
    [["--\u001b[31m"], "unknown option --\\x1b[31m"],
    [["--force=yes"], "--force takes no value"],
    [["--to"], "--to needs a value (bf16|f16|f32)"],
    [["-o"], "-o needs a value (FILE|DIR)"],
    [["--output="], "--output: the value is empty"],
    [["-o", "--force"], "-o needs a value (FILE|DIR); found --force; if that is the value, write -o--force"],
    [["--output", "-x"], "--output needs a value (FILE|DIR); found -x; if that is the value, write --output=-x"],
    [["--to", "bf61"], '--to: "bf61" is none of bf16, f16, f32; did you mean bf16?'],
    [["--to", "int4"], '--to: "int4" is none of bf16, f16, f32'],
    [["-j", "four"], '-j: "four" is not a whole number from 0 to 64'],
    [["-j65"], '-j: "65" is not a whole number from 0 to 64'],
    [["--threads=1.5"], '--threads: "1.5" is not a whole number from 0 to 64'],
    [["--sample", "0"], '--sample: "0" is not a whole number from 1 to 100'],
    [["--shard-size", "5 cm"], '--shard-size: "5 cm" is not a size such as 5GB or 512MiB or one of keep, single'],
    [["in", "out"], 'unexpected argument "out"'],
  ])("%j: %s", (argv, message) => {
    expect(failure(...argv)).toBe(message)
  })

  test("a missing, an empty and an unknown positional", () => {
    const shell = [{ name: "shell", help: "", choices: ["bash", "zsh"] }]
    expect(() => requirePositionals([], positionals)).toThrow("<path> is missing")
    expect(() => requirePositionals([""], positionals)).toThrow("<path> is empty")
    expect(() => requirePositionals(["bsh"], shell)).toThrow('"bsh" is none of bash, zsh')
    expect(() => requirePositionals([], [{ name: "command", help: "", optional: true }])).not.toThrow()
  })
})

describe("nearest", () => {
  const words = ["inspect", "convert", "verify", "doctor", "formats"]
  test.each([
    ["convret", "convert"],
    ["conv", "convert"],
    ["insepct", "inspect"],
    ["docter", "doctor"],
    ["format", "formats"],
    ["varify", "verify"],
  ])("%s means %s", (given, meant) => {
    expect(nearest(given, words)).toBe(meant)
  })

  test.each(["x", "run", "quantize-everything", "", "a".repeat(10_000)])("%p means nothing known", (given) => {
    expect(nearest(given, words)).toBeUndefined()
  })
})
