/**
 * The arm64 executable and the kernels inside it in qemu's user mode, on a CPU of each level, where qemu and arm64's
 * glibc are installed.
 */
import { beforeAll, describe, expect, test } from "bun:test"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { buildExecutable } from "../../src/build/executable.ts"
import { root } from "../../src/build/project.ts"
import { formatNpy } from "../../src/matrix/npy.ts"
import { type Ended, plainEnvironment, run, runCommand } from "../cli/program.ts"
import { normal } from "../matvec/model.ts"
import { temporaryFolder } from "../support/checkpoints.ts"
import { CPUS, runProgram } from "./aarch64.ts"
import { buildGuestLibrary } from "./guest.ts"
import { passedTests } from "./report.ts"
import { findArm } from "./tools.ts"

const MINUTE = 60_000

const tools = findArm()
const skipped = typeof tools === "string" ? ` (skipped: ${tools})` : ""

/** The test of every object that is linked into the library; the others do not depend on the CPU's level. */
const KERNEL_TEST = "every level of this machine"

const MODEL = join(root, "test", "fixtures", "tiny-gpt-oss")
const WEIGHT = "model.layers.0.mlp.experts.gate_up_proj"
const COLUMNS = 64

describe.skipIf(skipped !== "")(`arm64 in qemu${skipped}`, () => {
  let guest = ""
  let executable = ""
  beforeAll(async () => {
    // Zig compiles what both need once; the rest of one fills the core that the other leaves.
    const prefix = join(root, "zig-out", "linux-arm64")
    ;[executable, guest] = await Promise.all([
      buildExecutable("linux-arm64"),
      buildGuestLibrary("aarch64", prefix, KERNEL_TEST),
    ])
  }, 15 * MINUTE)

  const arm = async (cpu: string, args: readonly string[]): Promise<Ended> => {
    if (typeof tools === "string") throw new Error(tools)
    const command = [tools.qemu, "-L", tools.sysroot, "-cpu", cpu, executable, ...args]
    return await runCommand(command, { env: plainEnvironment() })
  }

  test(
    "the kernels as they are shipped pass their tests",
    async () => {
      if (typeof tools === "string") throw new Error(tools)
      // An emulated CPU cannot afford every comparison of the conformance suite.
      const environment = { DQ_CONFORMANCE_EVERY: "53" }
      const { qemu } = tools
      const levels = Object.entries(CPUS)
      const endings = await Promise.all(
        levels.map(([, cpu]) => runProgram(qemu, cpu, guest, "test-library", environment)),
      )
      for (const [i, [level]] of levels.entries()) {
        const { how, output } = endings[i]!
        expect(`${output}${how}`).toEndWith("exit 0")
        expect(passedTests(output)).toBeGreaterThan(0)
        // A CPU has its own level and those below it.
        const untested = [...output.matchAll(/skipped: object of level (\S+)/g)].map((match) => match[1]!)
        expect(untested).not.toContain(level)
        expect(untested).toEqual(level === "neon" ? ["neon-dotprod"] : [])
      }
    },
    10 * MINUTE,
  )

  describe.each(Object.entries(CPUS))("the executable at %s", (level, cpu) => {
    test(
      "chooses the level, and its kernels pass the self-test",
      async () => {
        const { stdout, stderr, exitCode } = await arm(cpu, ["doctor", "--selftest", "--json"])
        expect(stderr).toBe("")
        const { machine, self_test } = JSON.parse(stdout)
        expect(machine.level).toBe(level)
        expect(self_test.find((one: { level: string }) => one.level === level)).toMatchObject({ ok: true })
        expect(exitCode).toBe(0)
      },
      MINUTE,
    )

    test(
      "converts to the same bytes as this machine",
      async () => {
        using folder = temporaryFolder()
        const [here, there] = [folder.file("here"), folder.file("there")]
        expect((await run(["convert", MODEL, "-o", here])).exitCode).toBe(0)
        const { stderr, exitCode } = await arm(cpu, ["convert", MODEL, "-o", there, "--verify", "full"])
        expect(stderr).toBe("")
        expect(exitCode).toBe(0)
        const names = readdirSync(here).sort()
        expect(readdirSync(there).sort()).toEqual(names)
        for (const name of names) {
          expect(readFileSync(join(there, name)).equals(readFileSync(join(here, name)))).toBe(true)
        }
      },
      MINUTE,
    )

    test(
      "multiplies to the same int8 sums as this machine, and passes the check",
      async () => {
        using folder = temporaryFolder()
        const input = folder.file("x.npy")
        writeFileSync(input, formatNpy({ shape: [2, COLUMNS], values: normal(2 * COLUMNS, 1) }))
        const product = ["matvec", MODEL, "-t", WEIGHT, "--input", input, "--repeat", "1"]
        const int8 = [...product, "--arithmetic", "int8", "-o"]
        const [here, there] = [folder.file("here.npy"), folder.file("there.npy")]
        expect((await run([...int8, here])).exitCode).toBe(0)
        expect(await arm(cpu, [...int8, there, "-q"])).toEqual({ stdout: "", stderr: "", exitCode: 0 })
        expect(readFileSync(there).equals(readFileSync(here))).toBe(true)
        const checked = await arm(cpu, [...product, "--arithmetic", "float", "--check"])
        expect(checked.stdout).toContain("relative error")
        expect(checked.exitCode).toBe(0)
      },
      MINUTE,
    )
  })
})
