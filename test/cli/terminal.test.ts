/** What a real terminal gets, and what reaches a file: the program runs on a pseudo-terminal of 60 columns. */
import { describe, expect, test } from "bun:test"
import { temporaryFolder, tensor, writeSafetensors } from "../support/checkpoints.ts"
import { gptOssTensors } from "../support/models.ts"
import { BIN, plainEnvironment, runCommand } from "./program.ts"
import { PTY_SCRIPT } from "./pty.ts"

const SCRIPT = `${PTY_SCRIPT}
child = start(60, sys.argv[1:])
while part := read(): sys.stdout.buffer.write(part)
sys.exit(exit_status(child))
`

/** Everything that the terminal receives, in order. */
async function onTerminal(args: readonly string[], env: Record<string, string> = {}) {
  const environment = plainEnvironment({ TERM: "xterm-256color", LANG: "C.UTF-8", ...env })
  const { stdout, stderr, exitCode } = await runCommand(["python3", "-c", SCRIPT, BIN, ...args], { env: environment })
  expect(stderr).toBe("")
  return { screen: stdout.replaceAll("\r\n", "\n"), exitCode }
}

describe("on a terminal", () => {
  test("a bar that is gone when the summary comes", async () => {
    using folder = temporaryFolder()
    writeSafetensors(folder.file("in.safetensors"), gptOssTensors())
    const args = ["convert", folder.file("in.safetensors"), "-o", folder.file("out.safetensors")]
    const { screen, exitCode } = await onTerminal(args)
    expect(exitCode).toBe(0)
    expect(screen).toMatch(/^\d[^\n]* in, [^\n]* out, [^\n]* of buffers, \d+ threads?\n\rconverting +\d+%/)
    const last = screen.slice(screen.lastIndexOf("\u001b[K") + 3)
    expect(screen).toContain("\r\u001b[K")
    expect(last).toMatch(/^\u001b\[2moutput +\u001b\[22m +\S/)
    for (const drawn of screen.split("\r").filter((line) => line.includes("converting"))) {
      expect(Bun.stringWidth(drawn)).toBeLessThan(60)
    }
  })

  test("colour, unless NO_COLOR or a dumb terminal says otherwise", async () => {
    expect((await onTerminal(["formats"])).screen).toContain("\u001b[1m")
    for (const env of [{ NO_COLOR: "1" }, { TERM: "dumb" }]) {
      expect((await onTerminal(["formats"], env)).screen).not.toContain("\u001b")
    }
    expect((await onTerminal(["formats"], { NO_COLOR: "" })).screen).toContain("\u001b[1m")
    expect((await onTerminal(["formats", "--color=always"], { NO_COLOR: "1" })).screen).toContain("\u001b[1m")
  })

  test("a dumb terminal gets no bar", async () => {
    using folder = temporaryFolder()
    writeSafetensors(folder.file("in.safetensors"), gptOssTensors())
    const args = ["convert", folder.file("in.safetensors"), "-o", folder.file("out.safetensors")]
    const { screen, exitCode } = await onTerminal(args, { TERM: "dumb" })
    expect(exitCode).toBe(0)
    expect(screen).not.toContain("\u001b")
    expect(screen).toStartWith("output")
  })

  test("long names are cut to the width of the terminal, and stay whole in a pipe", async () => {
    using folder = temporaryFolder()
    const name = `model.layers.0.${"very_long_module_name.".repeat(4)}weight`
    const path = folder.file("a.safetensors")
    writeSafetensors(path, [tensor(name, "F32", [2, 2], 1)])
    const { screen } = await onTerminal(["inspect", path, "--tensors", "--color", "never"])
    const rows = screen.slice(screen.indexOf("TENSOR")).trimEnd().split("\n")
    expect(rows).toHaveLength(2)
    for (const row of rows) expect(Bun.stringWidth(row)).toBeLessThanOrEqual(60)
    expect(rows[1]).toStartWith("model.layers.0.very")
    expect((await runCommand([BIN, "inspect", path, "--tensors"])).stdout).toContain(`${name}  F32`)
  })
})
