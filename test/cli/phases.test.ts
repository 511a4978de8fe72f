/** Each signal in each phase of a conversion: its exit status, one line, and nothing left behind. */
import { expect, test } from "bun:test"
import { readdirSync } from "node:fs"
import { writeManyTensors } from "../fixtures/many-tensors.ts"
import { temporaryFolder } from "../support/checkpoints.ts"
import { BIN, plainEnvironment } from "./program.ts"

const SIGNALS = [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 143],
] as const
const PHASES = ["convert", "verify", "finish"] as const

/** Reads until a progress event of the phase has come, calls `then`, and reads on to the end. */
async function readAround(stderr: ReadableStream<Uint8Array>, phase: string, then: () => void): Promise<string> {
  const decoder = new TextDecoder()
  let text = ""
  let hasCome = false
  for await (const chunk of stderr) {
    text += decoder.decode(chunk, { stream: true })
    if (hasCome || !text.includes(`"phase":"${phase}"`)) continue
    hasCome = true
    then()
  }
  expect(hasCome).toBe(true)
  return text
}

test.each(SIGNALS.flatMap(([signal, exitCode]) => PHASES.map((phase) => [signal, phase, exitCode] as const)))(
  "%s while it works at: %s",
  async (signal, phase, exitCode) => {
    using folder = temporaryFolder()
    writeManyTensors(folder.file("in"), 400, 100)
    const args = ["convert", "in", "-o", "out", "--verify", "full", "--progress", "json"]
    const child = Bun.spawn([BIN, ...args], {
      cwd: folder.path,
      env: plainEnvironment(),
      stdio: ["ignore", "pipe", "pipe"],
    })
    const stderr = await readAround(child.stderr, phase, () => child.kill(signal))
    const code = await child.exited
    const said = stderr.split("\n").filter((line) => line !== "" && !line.startsWith('{"schema":1,"event":"progress"'))
    // Finishing takes a moment only: who comes too late gets the output.
    if (phase === "finish" && code === 0) {
      expect(readdirSync(folder.file("out"))).toContain("model.safetensors.index.json")
      return
    }
    expect(said).toEqual(["dequantizer: cancelled"])
    expect(code).toBe(exitCode)
    expect(readdirSync(folder.path)).toEqual(["in"])
  },
)

test.each(SIGNALS)(
  "%s (%d) while headers are read and the plan is made ends it, and nothing is there",
  async (signal, exitCode) => {
    using folder = temporaryFolder()
    writeManyTensors(folder.file("in"), 20_000, 100)
    const child = Bun.spawn([BIN, "convert", "in", "-o", "out", "--progress", "none"], {
      cwd: folder.path,
      env: plainEnvironment(),
      stdio: ["ignore", "pipe", "pipe"],
    })
    await Bun.sleep(30)
    child.kill(signal)
    const code = await child.exited
    // Nothing is there to clean up yet, so the signal may end it as it ends any program.
    expect(child.signalCode === signal || code === exitCode).toBe(true)
    expect(readdirSync(folder.path)).toEqual(["in"])
  },
)
