/** Limits of the system that the program runs into: one line, the exit status, and nothing left behind. */
import { describe, expect, test } from "bun:test"
import { readdirSync } from "node:fs"
import { writeManyTensors } from "../fixtures/many-tensors.ts"
import { temporaryFolder } from "../support/checkpoints.ts"
import { plainEnvironment, shell } from "./program.ts"

const SHARDS = 200

/** Converts a folder of many shards under a limit of the shell. */
async function convertUnder(limit: string, more = "") {
  using folder = temporaryFolder()
  writeManyTensors(folder.file("in"), 2 * SHARDS, SHARDS)
  const env = { ...plainEnvironment(), IN: folder.file("in"), OUT: folder.file("out") }
  const ended = await shell(`${limit}; exec "$BIN" convert "$IN" -o "$OUT" --progress none ${more}`, { env })
  return { ...ended, left: readdirSync(folder.path).toSorted() }
}

describe("ulimit -n", () => {
  test("far fewer files than shards are enough for a plan", async () => {
    const { stdout, stderr, exitCode } = await convertUnder("ulimit -n 64", "-n")
    expect(stdout).toContain(`of them ${SHARDS} shards`)
    expect({ stderr, exitCode }).toEqual({ stderr: "", exitCode: 0 })
  })

  test("a conversion works, or says in one line that files are too many", async () => {
    for (const count of [32, 64, 300, 1024]) {
      const { stderr, exitCode, left } = await convertUnder(`ulimit -n ${count}`)
      if (exitCode === 0) {
        expect({ stderr, left }).toEqual({ stderr: "", left: ["in", "out"] })
        continue
      }
      expect(stderr).toMatch(/^dequantizer: [^\n]*too many open files[^\n]*\n$/)
      expect({ exitCode, left }).toEqual({ exitCode: 5, left: ["in"] })
    }
  }, 60_000)
})

test("ulimit -f: a file that may not grow is an I/O fault, and nothing stays", async () => {
  const { stderr, exitCode, left } = await convertUnder("trap '' XFSZ; ulimit -f 64")
  expect(stderr).toMatch(/^dequantizer: [^\n]*\n$/)
  expect({ exitCode, left }).toEqual({ exitCode: 5, left: ["in"] })
})

test("ulimit -v: with too little address space for compiled calls, that is what is said", async () => {
  const { stderr, exitCode, left } = await convertUnder("ulimit -v 1000000")
  expect(stderr).toMatch(/^dequantizer: [^\n]*address space[^\n]*ulimit -v[^\n]*\n$/)
  expect({ exitCode, left }).toEqual({ exitCode: 5, left: ["in"] })
})

test("ulimit -v: 8 GB are enough", async () => {
  const { stderr, exitCode, left } = await convertUnder("ulimit -v 8000000")
  expect({ stderr, exitCode, left }).toEqual({ stderr: "", exitCode: 0, left: ["in", "out"] })
})
