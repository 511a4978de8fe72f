/** Code that the surroundings of the program would have it load, and what it leaves for others to read or write. */
import { describe, expect, test } from "bun:test"
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { join } from "node:path"
import { temporaryFolder } from "../support/checkpoints.ts"
import { writeGptOssFolder } from "../support/models.ts"
import { BIN, plainEnvironment, run, shell } from "./program.ts"

/** Code that leaves a trace where it runs. */
function writeTrap(folder: string): string {
  const path = join(folder, "trap.ts")
  writeFileSync(path, `require("node:fs").writeFileSync(${JSON.stringify(join(folder, "SPRUNG"))}, "")\n`)
  return path
}

describe("no code but its own is run", () => {
  test("what lies in the current folder: bunfig.toml, .env, package.json, tsconfig.json", async () => {
    using folder = temporaryFolder()
    const trap = writeTrap(folder.path)
    writeFileSync(folder.file("bunfig.toml"), `preload = [${JSON.stringify(trap)}]\n[run]\npreload = ["./trap.ts"]\n`)
    writeFileSync(folder.file(".env"), `DEQUANTIZER_THREADS=many\nBUN_OPTIONS=--preload=${trap}\n`)
    writeFileSync(folder.file("package.json"), '{"type":"commonjs","imports":{"#x":"./trap.ts"}}')
    writeFileSync(folder.file("tsconfig.json"), '{"compilerOptions":{"paths":{"*":["./trap.ts"]}}}')
    writeGptOssFolder(folder.file("model"))
    for (const args of [["--version"], ["inspect", "model"], ["convert", "model", "-o", "out", "-q"]]) {
      expect(await run(args, { cwd: folder.path })).toMatchObject({ stderr: "", exitCode: 0 })
    }
    expect(existsSync(folder.file("SPRUNG"))).toBe(false)
  })

  test.each(["BUN_OPTIONS", "BUN_INSPECT_PRELOAD", "NODE_OPTIONS", "BUN_BE_BUN", "BUN_PRELOAD"])("%s", async (name) => {
    using folder = temporaryFolder()
    const trap = writeTrap(folder.path)
    for (const value of [`--preload=${trap}`, `--preload ${trap}`, `--require ${trap}`, trap, "1"]) {
      const env = plainEnvironment({ [name]: value })
      const { stdout, exitCode } = await run(["--version"], { env, cwd: folder.path })
      expect(stdout).toStartWith("dequantizer ")
      expect(exitCode).toBe(0)
    }
    expect(readdirSync(folder.path)).toEqual(["trap.ts"])
  })
})

describe("files", () => {
  test("others may read what the umask lets them, and write nothing", async () => {
    using folder = temporaryFolder()
    writeGptOssFolder(folder.file("in"))
    for (const [mask, file, directory] of [
      ["022", 0o644, 0o755],
      ["077", 0o600, 0o700],
      ["000", 0o644, 0o777],
    ] as const) {
      const out = folder.file(`out-${mask}`)
      const { exitCode } = await shell(`umask ${mask}; "$BIN" convert ${folder.file("in")} -o ${out} --manifest -q`)
      expect(exitCode).toBe(0)
      expect(statSync(out).mode & 0o777).toBe(directory)
      for (const name of readdirSync(out)) expect(statSync(join(out, name)).mode & 0o777).toBe(file)
    }
  })

  test("links that lie where a run writes are not followed", async () => {
    using folder = temporaryFolder()
    writeGptOssFolder(folder.file("in"))
    const names = ["model-00001-of-00002.safetensors", "config.json", "model.safetensors.index.json"]
    mkdirSync(folder.file("out"))
    writeFileSync(folder.file("victim"), "untouched")
    for (const name of [...names.map((name) => `${name}.partial`), ".dequantizer.journal"]) {
      symlinkSync("../victim", folder.file("out", name))
    }
    const { stderr, exitCode } = await run(["convert", folder.file("in"), "-o", folder.file("out"), "--force", "-q"])
    expect([0, 5, 6]).toContain(exitCode)
    if (exitCode !== 0) expect(stderr).toMatch(/^dequantizer: [^\n]+\n$/)
    expect(readFileSync(folder.file("victim"), "utf8")).toBe("untouched")
  })

  test("a program that was copied elsewhere and may not be written is whole", async () => {
    using folder = temporaryFolder()
    writeFileSync(folder.file("copy"), readFileSync(BIN))
    chmodSync(folder.file("copy"), 0o555)
    const { stdout } = await shell(`${folder.file("copy")} doctor --json`)
    expect(JSON.parse(stdout)).toMatchObject({ schema: 1 })
  })
})
