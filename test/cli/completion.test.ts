import { describe, expect, test } from "bun:test"
import { loadSpecs } from "../../src/commands/table.ts"
import { BIN, plainEnvironment, run, runCommand, shell } from "./program.ts"

const hasProgram = (name: string): boolean => Bun.which(name) !== null

/** What bash would offer after the words; the last one is being typed. */
async function bashOffers(...words: string[]): Promise<string[]> {
  const quoted = words.map((word) => `'${word}'`).join(" ")
  const script = `
    eval "$("$BIN" completion bash)"
    COMP_WORDS=(dequantizer ${quoted})
    COMP_CWORD=${words.length}
    _dequantizer
    printf '%s\\n' "\${COMPREPLY[@]}"`
  const { stdout, stderr } = await runCommand(["bash", "-u", "-c", script], { env: plainEnvironment({ BIN }) })
  expect(stderr).toBe("")
  return stdout.split("\n").filter((line) => line !== "")
}

describe("bash", () => {
  test.each([
    [
      [""],
      [
        "inspect",
        "convert",
        "dequantize",
        "verify",
        "finish",
        "matvec",
        "bench",
        "doctor",
        "formats",
        "completion",
        "man",
        "help",
      ],
    ],
    [["con"], ["convert"]],
    [
      ["convert", "in", "--to", ""],
      ["bf16", "f16", "f32"],
    ],
    [
      ["convert", "in", "--to", "f"],
      ["f16", "f32"],
    ],
    [["convert", "in", "--to", "=", "b"], ["bf16"]],
    [
      ["convert", "in", "--to", "="],
      ["bf16", "f16", "f32"],
    ],
    [["dequantize", "--sh"], ["--shard-size"]],
    [["--progress", "none", "verify", "--f"], ["--full"]],
    [["convert", "--progress", "j"], ["json"]],
    [["model.safetensors", "--str"], ["--strict"]],
    [["completion", "f"], ["fish"]],
    [["inspect", "--sort", "n"], ["name"]],
    [["convert", "-o", "x"], []],
    [["inspect", "mod"], []],
  ])("%j", async (words, expected) => {
    expect(await bashOffers(...words)).toEqual(expected)
  })

  test("every option of every command", async () => {
    for (const spec of await loadSpecs()) {
      const offered = await bashOffers(spec.name, "--")
      for (const name of Object.keys(spec.options)) expect(offered).toContain(`--${name}`)
      expect(offered).toContain("--help")
    }
  })
})

describe("other shells", () => {
  test.each(["zsh", "fish"])("%s accepts its script", async (name) => {
    const { stdout, exitCode } = await run(["completion", name])
    expect(exitCode).toBe(0)
    for (const spec of await loadSpecs()) {
      expect(stdout).toContain(spec.name)
      for (const option of Object.keys(spec.options)) expect(stdout).toContain(option)
    }
    if (!hasProgram(name)) {
      console.log(`not tried: ${name} is not installed`)
      return
    }
    const parsed = await shell(`"$BIN" completion ${name} | ${name} -n /dev/stdin`)
    expect(parsed.stderr).toBe("")
    expect(parsed.exitCode).toBe(0)
  })
})

describe("manual page", () => {
  test("every command and option stands in it", async () => {
    const { stdout, exitCode } = await run(["man"])
    expect(exitCode).toBe(0)
    const plain = stdout.replaceAll("\\-", "-").replaceAll(/\\f[BIR]/g, "")
    for (const spec of await loadSpecs()) {
      expect(plain).toContain(`.SS "${spec.name}`)
      for (const name of Object.keys(spec.options)) expect(plain).toContain(`--${name}`)
    }
  })

  test("groff has nothing to complain about", async () => {
    if (!hasProgram("groff")) {
      console.log("not tried: groff is not installed")
      return
    }
    const page = await shell(`"$BIN" man | groff -man -Tutf8 -ww >/dev/null`)
    expect(page.stderr).toBe("")
    expect(page.exitCode).toBe(0)
  })
})
