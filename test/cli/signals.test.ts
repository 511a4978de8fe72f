/** Signals during a conversion: it ends at once, with its exit code, and leaves nothing behind. */
import { describe, expect, test } from "bun:test"
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { tensor, writeSafetensors } from "../support/checkpoints.ts"
import { BIN, plainEnvironment, run } from "./program.ts"

const EXPERTS = 32
const ROWS = 4096
const GROUPS = 64

/** Hundreds of megabytes of output from a file that takes no room: its codes and scales are zeros. */
function writeLarge(path: string): void {
  const codes = EXPERTS * ROWS * GROUPS * 16
  const scales = EXPERTS * ROWS * GROUPS
  const header = JSON.stringify({
    "w.blocks": { dtype: "U8", shape: [EXPERTS, ROWS, GROUPS, 16], data_offsets: [0, codes] },
    "w.scales": { dtype: "U8", shape: [EXPERTS, ROWS, GROUPS], data_offsets: [codes, codes + scales] },
  })
  const start = new Uint8Array(8 + header.length)
  new DataView(start.buffer).setBigUint64(0, BigInt(header.length), true)
  new TextEncoder().encodeInto(header, start.subarray(8))
  const file = openSync(path, "w")
  writeSync(file, start)
  ftruncateSync(file, start.length + codes + scales)
  closeSync(file)
}

/** A folder in memory, where there is one: the test is about signals, not about the disk. */
function memoryFolder() {
  const path = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "dequantizer-signals-"))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

/** Starts a conversion and waits for its first progress event: from then on it is at work. */
async function startConversion(folder: string, args: readonly string[] = [], before: readonly string[] = []) {
  writeLarge(join(folder, "in.safetensors"))
  const child = Bun.spawn(
    [
      ...before,
      BIN,
      "convert",
      "in.safetensors",
      "-o",
      "out.safetensors",
      "--verify",
      "full",
      "--progress",
      "json",
      ...args,
    ],
    { cwd: folder, env: plainEnvironment(), stdio: ["ignore", "pipe", "pipe"] },
  )
  const reader = child.stderr.getReader()
  const decoder = new TextDecoder()
  let stderr = ""
  while (!stderr.includes("\n")) {
    const { value, done } = await reader.read()
    if (done) throw new Error(`the conversion ended before it said anything: ${stderr}`)
    stderr += decoder.decode(value, { stream: true })
  }
  const rest = async (): Promise<string> => {
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return stderr
      stderr += decoder.decode(value, { stream: true })
    }
  }
  return { child, rest }
}

/** The lines that are no progress events. */
function messages(stderr: string): string[] {
  return stderr.split("\n").filter((line) => line !== "" && !line.startsWith('{"schema":1,"event":"progress"'))
}

describe("a conversion that is told to stop", () => {
  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 143],
  ] as const)("%s: exit %d, nothing left", async (signal, exitCode) => {
    using folder = memoryFolder()
    const { child, rest } = await startConversion(folder.path)
    child.kill(signal)
    const [stdout, stderr, code] = await Promise.all([child.stdout.text(), rest(), child.exited])
    expect(stdout).toBe("")
    expect(messages(stderr)).toEqual(["dequantizer: cancelled"])
    expect(code).toBe(exitCode)
    expect(readdirSync(folder.path)).toEqual(["in.safetensors"])
  })

  test("an older output stays as it was", async () => {
    using folder = memoryFolder()
    const output = join(folder.path, "out.safetensors")
    writeSafetensors(output, [tensor("old", "F32", [3], 1)])
    const before = readFileSync(output)
    const { child, rest } = await startConversion(folder.path, ["--force"])
    child.kill("SIGINT")
    await Promise.all([child.stdout.text(), rest()])
    expect(await child.exited).toBe(130)
    expect(readFileSync(output)).toEqual(before)
    expect(readdirSync(folder.path).sort()).toEqual(["in.safetensors", "out.safetensors"])
  })

  test("a second signal ends it at once", async () => {
    using folder = memoryFolder()
    const { child, rest } = await startConversion(folder.path)
    child.kill("SIGINT")
    child.kill("SIGINT")
    await Promise.all([child.stdout.text(), rest()])
    expect(await child.exited).toBe(130)
    expect(existsSync(join(folder.path, "out.safetensors"))).toBe(false)
  })

  test("a signal that it was started to ignore is ignored", async () => {
    using folder = memoryFolder()
    const { child, rest } = await startConversion(folder.path, ["--verify", "none"], ["nohup"])
    child.kill("SIGHUP")
    const [stderr, exitCode] = await Promise.all([rest(), child.exited])
    expect(messages(stderr)).toEqual([])
    expect(exitCode).toBe(0)
    expect(readdirSync(folder.path).sort()).toEqual(["in.safetensors", "out.safetensors"])
  })

  test("a run after it succeeds without --force", async () => {
    using folder = memoryFolder()
    const { child, rest } = await startConversion(folder.path)
    child.kill("SIGINT")
    await Promise.all([child.stdout.text(), rest(), child.exited])
    const small = join(folder.path, "small.safetensors")
    writeSafetensors(small, [tensor("a", "F32", [3], 1)])
    const { exitCode } = await run(["convert", small, "-o", join(folder.path, "out.safetensors"), "-q"])
    expect(exitCode).toBe(0)
  })
})
