import { describe, expect, test } from "bun:test"
import { cpus, totalmem } from "node:os"
import { plainEnvironment, run, runCommand } from "./program.ts"

describe("doctor", () => {
  test("what the machine has", async () => {
    const { stdout, stderr, exitCode } = await run(["doctor"])
    for (const name of [
      "cpu",
      "level",
      "cores",
      "numa",
      "cgroup",
      "memory",
      "huge pages",
      "temp folder",
      "disk here",
    ]) {
      expect(stdout).toMatch(new RegExp(`^${name} +\\S`, "m"))
    }
    expect(stderr).toBe("")
    expect(exitCode).toBe(0)
  })

  test("the same as JSON", async () => {
    const { machine, temporary_folder } = JSON.parse((await run(["doctor", "--json"])).stdout)
    const allowed = Number((await runCommand(["nproc"])).stdout)
    expect(machine.cpus_allowed).toBe(allowed)
    expect(machine.cpus_online).toBe(cpus().length)
    expect(machine.memory_total_bytes).toBe(totalmem())
    expect(machine.levels.find((level: { name: string }) => level.name === machine.level).supported).toBe(true)
    expect(machine.cores_allowed).toBeLessThanOrEqual(machine.cpus_allowed)
    expect(temporary_folder).toMatchObject({ writable: true, executable: true })
  })

  test("every level of this CPU passes the self-test", async () => {
    const { stdout, stderr, exitCode } = await run(["doctor", "--selftest", "--json"])
    expect(stderr).toBe("")
    expect(exitCode).toBe(0)
    const { machine, self_test } = JSON.parse(stdout)
    for (const { name, supported } of machine.levels) {
      expect(self_test).toContainEqual({
        level: name,
        supported,
        ok: supported ? true : null,
        compared: supported ? 20 : 0,
        mismatch: null,
      })
    }
    expect(self_test.at(-1)).toMatchObject({ level: "scalar", ok: true })
    const rows = (await run(["doctor", "--selftest"])).stdout.split("self-test of the kernels\n")[1] ?? ""
    expect(rows.trimEnd().split("\n")).toHaveLength(machine.levels.length + 1)
  })

  test("a level is heeded, and one that does not exist is a usage error", async () => {
    const scalar = JSON.parse((await run(["doctor", "--json", "--level", "scalar"])).stdout)
    expect(scalar.machine.level).toBe("scalar")
    const byVariable = await run(["doctor", "--json"], { env: plainEnvironment({ DQ_LEVEL: "scalar" }) })
    expect(JSON.parse(byVariable.stdout).machine.level).toBe("scalar")
    const unknown = await run(["doctor", "--level", "avx9"])
    expect(unknown.stderr).toMatch(/^dequantizer: level "avx9" is unknown; levels: [^\n]+\n$/)
    expect(unknown.exitCode).toBe(2)
  })
})
