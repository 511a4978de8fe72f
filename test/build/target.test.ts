import { describe, expect, test } from "bun:test"
import { join } from "node:path"
import { root } from "../../src/build/project.ts"
import { hostTarget, parseTarget, TARGETS } from "../../src/build/target.ts"
import { runCommand } from "../cli/program.ts"

describe("--target", () => {
  test("is this machine's where it is not given", () => {
    expect(parseTarget([])).toBe(hostTarget())
  })

  test.each(Object.keys(TARGETS) as (keyof typeof TARGETS)[])("%s", (name) => {
    expect(parseTarget(["--target", name])).toBe(name)
    expect(parseTarget([`--target=${name}`])).toBe(name)
  })

  const known = "linux-x64 or linux-arm64"
  test.each([
    ["another machine", ["--target", "windows-x64"], `--target takes ${known} (found "windows-x64")`],
    ["no name", ["--target="], `--target takes ${known} (found "")`],
    ["no value", ["--target"], `the only option is --target ${known} (found: --target)`],
    ["another option", ["--targets", "linux-x64"], `the only option is --target ${known} (found: --targets linux-x64)`],
    ["more", ["--target", "linux-x64", "-v"], `the only option is --target ${known} (found: --target linux-x64 -v)`],
  ])("%s is one sentence, before anything is built", async (_, args, sentence) => {
    const script = join(root, "src", "build", "executable.ts")
    expect(await runCommand([process.execPath, script, ...args])).toEqual({
      stdout: "",
      stderr: `build: ${sentence}\n`,
      exitCode: 1,
    })
  })
})
