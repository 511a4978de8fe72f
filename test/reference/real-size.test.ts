/** One layer of gpt-oss-20b in its real size, each naming, converted and compared with the recipe on every element. */
import { describe, expect, test } from "bun:test"
import { join } from "node:path"
import { writeGptOss } from "../fixtures/gpt-oss.ts"
import { GPT_OSS_20B } from "../fixtures/gpt-oss-tensors.ts"
import { findRoom } from "../fixtures/room.ts"
import { convert } from "./program.ts"
import { findPython, runPython } from "./python.ts"

/** 0.5 GB in, 1.7 GB out. */
const ROOM = 2.2e9
const MINUTES = 60_000

function obstacle(): string | undefined {
  const python = findPython("numpy")
  if ("reason" in python) return python.reason
  using room = findRoom(ROOM)
  return room === undefined ? "no room for 2.2 GB of temporary files" : undefined
}

const reason = obstacle()
const title = `a real-size gpt-oss layer${reason === undefined ? "" : ` (skipped: ${reason})`}`

describe.skipIf(reason !== undefined)(title, () => {
  const every = (naming: "original" | "hf") => {
    const python = findPython("numpy")
    using room = findRoom(ROOM)
    if (room === undefined || !("path" in python)) throw new Error("room or Python has gone since the tests began")
    const source = join(room.path, "source")
    const output = join(room.path, "output")
    writeGptOss({ folder: source, naming, size: { ...GPT_OSS_20B, layers: 1 } })
    convert(source, output, "--verify", "none")
    const run = runPython(python.path, "reference/compare.py", source, output)
    expect(run.output + run.errors).toContain(`2 weights, ${32 * 3 * 2880 * 2880} elements equal`)
    expect(run.code).toBe(0)
  }
  test.each(["original", "hf"] as const)("%s: every element is the recipe's", every, 5 * MINUTES)
})
