/**
 * A terminal that is made wider and narrower while a conversion runs: what is drawn next fits the width that there is by
 * then, and the output is that of a run which nobody watched.
 */
import { expect, test } from "bun:test"
import { contents } from "../kill/kill.ts"
import { temporaryFolder } from "../support/checkpoints.ts"
import { writeGptOssFolder } from "../support/models.ts"
import { BIN, plainEnvironment, run, runCommand } from "./program.ts"
import { PTY_SCRIPT } from "./pty.ts"

/** Columns, in turn: much wider, much narrower, and less than any bar takes. */
const WIDTHS = [100, 41, 160, 24, 79, 58, 200, 33, 12, 120]

/**
 * The program on a pseudo-terminal. Behind each redraw it is halted (SIGSTOP) until the next one is due, and wakes in a
 * window of another width (TIOCSWINSZ, which sends SIGWINCH). Prints a JSON array of what was drawn at which width, and ends
 * as the program does.
 */
const SCRIPT = `${PTY_SCRIPT}
widths = json.loads(sys.argv[1])
child = start(widths[0], sys.argv[2:])
drawn = []
turn = 0
while part := read():
    drawn.append({"width": widths[turn % len(widths)], "text": part.decode()})
    if b"\\x1b[K" not in part: continue
    os.kill(child, signal.SIGSTOP)
    turn += 1
    resize(widths[turn % len(widths)])
    time.sleep(0.12)
    os.kill(child, signal.SIGCONT)
print(json.dumps(drawn))
sys.exit(exit_status(child))
`

interface Drawn {
  readonly width: number
  readonly text: string
}

test("every redraw of a bar fits the width that the terminal has by then", async () => {
  using folder = temporaryFolder()
  const input = folder.file("in")
  writeGptOssFolder(input, { layers: 8, experts: 6, hidden: 384, intermediate: 448, vocabulary: 64 })
  const options = ["--threads", "1", "--verify", "full", "--color", "never"]
  const [watched, alone] = [folder.file("watched"), folder.file("alone")]
  const command = ["python3", "-c", SCRIPT, JSON.stringify(WIDTHS), BIN, "convert", input, "-o", watched, ...options]
  const env = plainEnvironment({ TERM: "xterm-256color", LANG: "C.UTF-8" })
  const { stdout, stderr, exitCode } = await runCommand(command, { env })
  expect({ stderr, exitCode }).toEqual({ stderr: "", exitCode: 0 })

  const lines = (JSON.parse(stdout) as Drawn[]).flatMap(({ width, text }) =>
    text.split("\r").flatMap((part) => {
      const [line = "", erased] = part.split("\u001b[K")
      return erased === undefined ? [] : [{ width, line }]
    }),
  )
  const redraws = lines.filter(({ line }) => line !== "")
  console.log(`${redraws.length} redraws at ${new Set(redraws.map(({ width }) => width)).size} widths`)
  for (const { width, line } of redraws)
    expect([width, line, Bun.stringWidth(line) < width]).toEqual([width, line, true])
  // Wide ones are used: a bar that always takes the least would fit as well.
  expect(redraws.some(({ line }) => line.includes("━━━"))).toBe(true)
  expect(redraws.length).toBeGreaterThan(WIDTHS.length / 2)

  expect((await run(["convert", input, "-o", alone, ...options])).exitCode).toBe(0)
  expect(contents(watched)).toEqual(contents(alone))
  expect(contents(alone).has("model.safetensors.index.json")).toBe(true)
})
