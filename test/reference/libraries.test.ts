/** What needs the libraries themselves: transformers loads the results, torch agrees, the vectors are still theirs. */
import { afterAll, describe, expect, test } from "bun:test"
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { convert } from "./program.ts"
import { findPython, runPython } from "./python.ts"

const SAMPLE = join(import.meta.dir, "..", "fixtures", "tiny-gpt-oss")
const FORMATS = join(import.meta.dir, "..", "fixtures", "formats")
const MINUTES = 60_000

const folder = mkdtempSync(join(tmpdir(), "dequantizer-libraries-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const python = findPython("full")
const reason = "reason" in python ? ` (skipped: ${python.reason})` : ""

function run(script: string, ...args: string[]) {
  if (!("path" in python)) throw new Error(python.reason)
  const { output, errors, code } = runPython(python.path, script, ...args)
  // Libraries warn on stderr even when all is well; it explains a failure.
  if (code !== 0) console.error(errors)
  return { output: output.trim(), code }
}

describe.skipIf(reason !== "")(`transformers, torch and gguf${reason}`, () => {
  test(
    "transformers loads the converted sample and finds its own dequantization, bit by bit",
    () => {
      const output = join(folder, "dense")
      convert(SAMPLE, output)
      const result = run("reference/transformers_load.py", SAMPLE, output)
      expect(result).toEqual({ output: "37 tensors and the logits are equal", code: 0 })
    },
    3 * MINUTES,
  )

  test.each(["bf16", "f16", "f32"])(
    "torch's own ldexp agrees in %s",
    (to) => {
      const output = join(folder, to)
      convert(SAMPLE, output, "--to", to)
      const result = run("reference/compare.py", SAMPLE, output, "--to", to.toUpperCase(), "--by", "torch")
      expect(result.output).toStartWith("4 weights, 147456 elements equal")
      expect(result.code).toBe(0)
    },
    3 * MINUTES,
  )

  // llama.cpp wants more metadata of Qwen 2 and Phi 3 than the fixtures have.
  test.each([
    "llama",
    "llama-k",
    "llama-bias",
    "mixtral",
    "qwen2moe",
    "qwen3",
    "qwen3moe",
    "gemma2",
    "gemma3",
    "gpt-oss",
  ])(
    "llama.cpp on GGUF %s and transformers on its conversion say the same",
    (model) => {
      const path = join(FORMATS, `gguf-${model}`, "model.gguf")
      const output = join(folder, model)
      convert(path, output, "--to", "f32")
      const result = run("reference/gguf_run.py", path, output)
      expect(result.code).toBe(0)
      expect(Number(result.output)).toBeGreaterThan(0.9995)
    },
    3 * MINUTES,
  )

  test(
    "the golden vectors are what the libraries give today",
    () => {
      const vectors = readdirSync(join(import.meta.dir, "..", "vectors")).filter((name) => name.endsWith(".json"))
      expect(run("vectors/make.py", "--check")).toEqual({ output: `${vectors.length} vectors unchanged`, code: 0 })
    },
    3 * MINUTES,
  )
})
