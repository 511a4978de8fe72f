/** Locks that are held, and locks that a killed run has left. */
import { describe, expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { RefusedError } from "../../src/errors.ts"
import { OBSOLETE_FOLDER, PREVIOUS_FOLDER, partialName } from "../../src/writer/commit.ts"
import { acquireLock, isLocked, lockName } from "../../src/writer/lock.ts"
import { runPlan } from "../../src/writer/run.ts"
import { randomWords, temporaryFolder } from "../support/checkpoints.ts"
import { plannedFolder, tiny, tree } from "./fixture.ts"

const ROOT = join(import.meta.dir, "../..")

/** Lets another process take the lock of a folder and die with it, as SIGKILL leaves it. */
function leaveLock(path: string): void {
  const script = `
    const { acquireLock } = await import("./src/writer/lock.ts")
    await acquireLock({ kind: "folder", path: ${JSON.stringify(path)}, folder: ${JSON.stringify(path)} })
    process.kill(process.pid, "SIGKILL")
  `
  const result = spawnSync(process.execPath, ["-e", script], { cwd: ROOT })
  expect(result.signal).toBe("SIGKILL")
}

const folderPlace = (path: string) => ({ kind: "folder" as const, path, folder: path })

test("a lock is held once, and free again after its release", async () => {
  using folder = temporaryFolder()
  const place = folderPlace(folder.path)
  const lock = await acquireLock(place)
  expect(lock.takenOver).toBe(false)
  expect(await isLocked(place)).toBe(true)
  await expect(acquireLock(place)).rejects.toThrow(RefusedError)
  await expect(acquireLock(place)).rejects.toThrow(`another run is writing it (process ${process.pid} on`)
  await lock.release()
  expect(await isLocked(place)).toBe(false)
  expect(tree(folder.path)).toEqual([])
  await (await acquireLock(place)).release()
})

test("of many that want a lock at once one gets it, a stale one too", async () => {
  using folder = temporaryFolder()
  const place = folderPlace(folder.path)
  for (const stale of [false, true]) {
    if (stale) leaveLock(folder.path)
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => acquireLock(place)))
    const held = results.filter((result) => result.status === "fulfilled")
    expect(held.length).toBe(1)
    await held[0]!.value.release()
    expect(tree(folder.path)).toEqual([])
  }
})

test("two files in one folder have locks of their own", async () => {
  using folder = temporaryFolder()
  const place = (name: string) => ({ kind: "file" as const, path: folder.file(name), folder: folder.path })
  const [a, b] = [await acquireLock(place("a")), await acquireLock(place("b"))]
  await expect(acquireLock(place("a"))).rejects.toThrow(RefusedError)
  await a.release()
  await b.release()
})

describe("a lock that is not known to be stale is held", () => {
  test.each([
    ["by another machine", { host: "elsewhere", boot: "other" }],
    ["by a process of another container", { namespace: "pid:[1]", started: "0" }],
    ["by a process that runs", {}],
  ])("%s", async (_, changes) => {
    using folder = temporaryFolder()
    const place = folderPlace(folder.path)
    await acquireLock(place)
    const path = folder.file(lockName(place))
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...changes }))
    await expect(acquireLock(place)).rejects.toThrow(RefusedError)
    expect(existsSync(path)).toBe(true)
  })

  test.each(["", "{", "[]", "null", '{"pid": "1"}'])("with the text %p", async (text) => {
    using folder = temporaryFolder()
    const place = folderPlace(folder.path)
    writeFileSync(folder.file(lockName(place)), text)
    const run = acquireLock(place)
    await expect(run).rejects.toThrow(RefusedError)
    await expect(run).rejects.toMatchObject({ hint: expect.stringContaining("if none is, remove") })
  })
})

describe("a lock is stale", () => {
  test.each([
    ["when its process has ended", {}],
    ["when its pid belongs to another process now", { pid: process.pid, started: "1" }],
    ["when the machine has booted since", { pid: process.pid, boot: "earlier" }],
  ])("%s", async (_, changes) => {
    using folder = temporaryFolder()
    const place = folderPlace(folder.path)
    leaveLock(folder.path)
    const path = folder.file(lockName(place))
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...changes }))
    const lock = await acquireLock(place)
    expect(lock.takenOver).toBe(true)
    await lock.release()
    expect(tree(folder.path)).toEqual([])
  })
})

describe("after a run that was killed", () => {
  test("while it wrote: the next run needs no force and leaves nothing of it", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    mkdirSync(folder.file("out"))
    leaveLock(folder.file("out"))
    for (const { name } of plan.shards) writeFileSync(folder.file("out", partialName(name)), "half a shard")
    const report = await runPlan(plan, { output: folder.file("out") })
    expect(tree(folder.file("out"))).toEqual(report.files.toSorted())
  })

  test("while it gave names: old files that had stepped aside are back before anything else happens", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    mkdirSync(folder.file("out"))
    leaveLock(folder.file("out"))
    mkdirSync(folder.file("out", PREVIOUS_FOLDER, "assets"), { recursive: true })
    for (const name of ["config.json", "old-shard.safetensors", "assets/logo.svg"]) {
      writeFileSync(folder.file("out", PREVIOUS_FOLDER, name), "{}")
    }
    writeFileSync(folder.file("out", "config.json"), "new")
    writeFileSync(folder.file("out", partialName("config.json")), "half")
    await expect(runPlan(plan, { output: folder.file("out") })).rejects.toThrow(/exists and is not empty/)
    expect(tree(folder.file("out"))).toEqual(["assets/", "assets/logo.svg", "config.json", "old-shard.safetensors"])
    expect(readFileSync(folder.file("out", "config.json"), "utf8")).toBe("{}")
    const report = await runPlan(plan, { output: folder.file("out"), force: true })
    expect(tree(folder.file("out"))).toEqual(
      [...report.files, "assets/", "assets/logo.svg", "old-shard.safetensors"].toSorted(),
    )
  })

  test("after the old output was given up: it does not come back", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    mkdirSync(folder.file("out", OBSOLETE_FOLDER), { recursive: true })
    leaveLock(folder.file("out"))
    writeFileSync(folder.file("out", OBSOLETE_FOLDER, "config.json"), "{}")
    const report = await runPlan(plan, { output: folder.file("out") })
    expect(tree(folder.file("out"))).toEqual(report.files.toSorted())
  })
})

test("killed at random moments: an index is there only with all that it names, the next run succeeds", async () => {
  using input = await plannedFolder({}, { ...tiny, experts: 6, hidden: 192 })
  const { folder, plan } = input
  await runPlan(plan, { output: folder.file("right") })
  const right = contents(folder.file("right"))
  const script = `
    const { openCheckpoint, planConversion, runPlan } = await import("./src/index.ts")
    const plan = planConversion(await openCheckpoint(${JSON.stringify(folder.file("in"))}))
    console.log("ready")
    await runPlan(plan, { output: ${JSON.stringify(folder.file("out"))}, force: true })
  `
  const next = randomWords(21)
  let killed = 0
  for (let i = 0; i < 20; i += 1) {
    const child = Bun.spawn([process.execPath, "-e", script], { cwd: ROOT, stdout: "pipe", stderr: "ignore" })
    await child.stdout.getReader().read()
    await Bun.sleep(next() % 120)
    child.kill("SIGKILL")
    await child.exited
    if (child.signalCode === "SIGKILL") killed += 1
    if (!existsSync(folder.file("out", "model.safetensors.index.json"))) continue
    expect(contents(folder.file("out"))).toMatchObject(right)
  }
  expect(killed).toBeGreaterThan(3)
  await runPlan(plan, { output: folder.file("out"), force: true })
  expect(contents(folder.file("out"))).toEqual(right)
}, 60_000)

/** Every file below a path with a hash of its bytes. */
function contents(path: string): Record<string, string> {
  const files = tree(path).filter((name) => !name.endsWith("/"))
  return Object.fromEntries(files.map((name) => [name, Bun.hash(readFileSync(join(path, name))).toString(16)]))
}
