/** Locks that are held, and lock files that a killed run has left. */
import { describe, expect, test } from "bun:test"
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { hostname } from "node:os"
import { join } from "node:path"
import { RefusedError } from "../../src/errors.ts"
import { OBSOLETE_FOLDER, PREVIOUS_FOLDER, partialName } from "../../src/writer/commit.ts"
import { acquireLock, hasLockFile, lockName } from "../../src/writer/lock.ts"
import { runPlan } from "../../src/writer/run.ts"
import { randomWords, temporaryFolder } from "../support/checkpoints.ts"
import { plannedFolder, tiny, tree } from "./fixture.ts"

const ROOT = join(import.meta.dir, "../..")

/** Another process that has printed "ready"; a failure of it is seen in the output of the test. */
async function startProcess(script: string): Promise<Bun.Subprocess<"ignore", "pipe", "inherit">> {
  const child = Bun.spawn([process.execPath, "-e", script], { cwd: ROOT, stdout: "pipe", stderr: "inherit" })
  await child.stdout.getReader().read()
  return child
}

async function kill(child: Bun.Subprocess): Promise<void> {
  child.kill("SIGKILL")
  await child.exited
}

/** Another process that holds the lock of a folder until it is killed. */
async function startHolder(path: string): Promise<Bun.Subprocess> {
  return await startProcess(`
    const { acquireLock } = await import("./src/writer/lock.ts")
    globalThis.lock = await acquireLock(${JSON.stringify(folderPlace(path))})
    console.log("ready")
    setInterval(() => {}, 1000)
  `)
}

/** Leaves the lock of a folder as SIGKILL does. */
async function leaveLock(path: string): Promise<void> {
  await kill(await startHolder(path))
  expect(await hasLockFile(folderPlace(path))).toBe(true)
}

const folderPlace = (path: string) => ({ kind: "folder" as const, path, folder: path })

/** How many files below a folder this process has open. (Others come and go with what the runtime does besides.) */
function openFiles(folder: string): number {
  const targets = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return ""
    }
  })
  return targets.filter((target) => target.startsWith(folder)).length
}

test("a lock is held once, and free again after its release", async () => {
  using folder = temporaryFolder()
  const place = folderPlace(folder.path)
  const lock = await acquireLock(place)
  expect(lock.takenOver).toBe(false)
  expect(await hasLockFile(place)).toBe(true)
  await expect(acquireLock(place)).rejects.toThrow(RefusedError)
  await expect(acquireLock(place)).rejects.toThrow(
    `another run is writing it (process ${process.pid} on ${hostname()})`,
  )
  await lock.release()
  expect(await hasLockFile(place)).toBe(false)
  expect(tree(folder.path)).toEqual([])
  await (await acquireLock(place)).release()
})

test("another process holds its lock until it dies, by whatever death", async () => {
  using folder = temporaryFolder()
  const place = folderPlace(folder.path)
  const holder = await startHolder(folder.path)
  await expect(acquireLock(place)).rejects.toThrow(`another run is writing it (process ${holder.pid} on`)
  await kill(holder)
  const lock = await acquireLock(place)
  expect(lock.takenOver).toBe(true)
  await expect(acquireLock(place)).rejects.toThrow(`(process ${process.pid} on`)
  await lock.release()
  expect(tree(folder.path)).toEqual([])
})

test.each([false, true])("of many that want a lock at once one gets it (left by a killed run: %p)", async (left) => {
  using folder = temporaryFolder()
  const place = folderPlace(folder.path)
  if (left) await leaveLock(folder.path)
  const results = await Promise.allSettled(Array.from({ length: 20 }, () => acquireLock(place)))
  const held = results.filter((result) => result.status === "fulfilled")
  const refused = results.filter((result) => result.status === "rejected")
  expect(held.length).toBe(1)
  for (const { reason } of refused) expect(reason).toBeInstanceOf(RefusedError)
  await held[0]!.value.release()
  expect(tree(folder.path)).toEqual([])
  expect(openFiles(folder.path)).toBe(0)
})

test("while runs take and release a lock in turn, never do two hold it", async () => {
  using folder = temporaryFolder()
  const place = folderPlace(folder.path)
  let holders = 0
  let taken = 0
  const contend = async () => {
    for (let i = 0; i < 100; i += 1) {
      const lock = await acquireLock(place).catch((error: unknown) => {
        expect(error).toBeInstanceOf(RefusedError)
      })
      if (lock === undefined) continue
      holders += 1
      taken += 1
      expect(holders).toBe(1)
      await Bun.sleep(0)
      holders -= 1
      await lock.release()
    }
  }
  await Promise.all(Array.from({ length: 8 }, contend))
  expect(taken).toBeGreaterThan(8)
  expect(tree(folder.path)).toEqual([])
})

test("two files in one folder have locks of their own", async () => {
  using folder = temporaryFolder()
  const place = (name: string) => ({ kind: "file" as const, path: folder.file(name), folder: folder.path })
  const [a, b] = [await acquireLock(place("a")), await acquireLock(place("b"))]
  await expect(acquireLock(place("a"))).rejects.toThrow(RefusedError)
  await a.release()
  await b.release()
})

/** Texts that name no holder: empty is the lock of a run that was killed right after it had made the file. */
const noHolders = [
  ["none", ""],
  ["cut off", '{"pid": 1'],
  ["a list", "[]"],
  ["null", "null"],
  ["a pid of another type", '{"pid": "1", "host": "a"}'],
  ["far too long", "x".repeat(5000)],
] as const
const elsewhere = JSON.stringify({ pid: 1, host: "elsewhere" })

describe("a lock file that nobody holds is taken over, whatever it says", () => {
  test.each([...noHolders, ["that of another machine", elsewhere] as const])("%s", async (_, text) => {
    using folder = temporaryFolder()
    const place = folderPlace(folder.path)
    writeFileSync(folder.file(lockName(place)), text)
    const lock = await acquireLock(place)
    expect(lock.takenOver).toBe(true)
    await expect(acquireLock(place)).rejects.toThrow(`(process ${process.pid} on ${hostname()})`)
    await lock.release()
    expect(tree(folder.path)).toEqual([])
  })

  test("one that may only be read", async () => {
    using folder = temporaryFolder()
    const place = folderPlace(folder.path)
    const path = folder.file(lockName(place))
    writeFileSync(path, elsewhere)
    chmodSync(path, 0o444)
    const lock = await acquireLock(place)
    expect(lock.takenOver).toBe(true)
    await expect(acquireLock(place)).rejects.toThrow("another run is writing it (process")
    await lock.release()
    expect(tree(folder.path)).toEqual([])
  })
})

test.each(noHolders)("a lock that is held stays so, with the text: %s", async (_, text) => {
  using folder = temporaryFolder()
  const place = folderPlace(folder.path)
  const lock = await acquireLock(place)
  writeFileSync(folder.file(lockName(place)), text)
  await expect(acquireLock(place)).rejects.toThrow(/another run is writing it$/)
  await lock.release()
})

test("what a lock file says comes to the terminal without control characters", async () => {
  using folder = temporaryFolder()
  const place = folderPlace(folder.path)
  const lock = await acquireLock(place)
  writeFileSync(folder.file(lockName(place)), JSON.stringify({ pid: 7, host: "a\u001b[2J" }))
  await expect(acquireLock(place)).rejects.toThrow(/\(process 7 on a[^\x1b]*\)$/)
  await lock.release()
})

describe("what bears the name of a lock file and is none is refused and left as it is", () => {
  const mine = "not a lock"
  test.each<[string, (path: string, other: string) => void]>([
    ["a symbolic link", (path, other) => symlinkSync(other, path)],
    ["a symbolic link", (path, other) => symlinkSync(`${other}-missing`, path)],
    ["a hard link", (path, other) => linkSync(other, path)],
    ["a pipe", (path) => expect(Bun.spawnSync(["mkfifo", path]).exitCode).toBe(0)],
    ["a folder", (path) => mkdirSync(path)],
  ])("%s", async (what, make) => {
    using folder = temporaryFolder()
    const place = folderPlace(folder.path)
    const path = folder.file(lockName(place))
    writeFileSync(folder.file("other"), mine)
    make(path, folder.file("other"))
    const before = tree(folder.path)
    await expect(acquireLock(place)).rejects.toThrow(`${path}: is ${what}`)
    expect(tree(folder.path)).toEqual(before)
    expect(openFiles(folder.path)).toBe(0)
    expect(readFileSync(folder.file("other"), "utf8")).toBe(mine)
  })
})

test("a release removes no lock but its own", async () => {
  using folder = temporaryFolder()
  const place = folderPlace(folder.path)
  const path = folder.file(lockName(place))
  const lock = await acquireLock(place)
  renameSync(path, folder.file("moved"))
  const other = await acquireLock(place)
  await lock.release()
  expect(await hasLockFile(place)).toBe(true)
  await expect(acquireLock(place)).rejects.toThrow(RefusedError)
  rmSync(path)
  await other.release()
})

describe("after a run that was killed", () => {
  test("while it wrote: the next run needs no force and leaves nothing of it", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    mkdirSync(folder.file("out"))
    await leaveLock(folder.file("out"))
    for (const { name } of plan.shards) writeFileSync(folder.file("out", partialName(name)), "half a shard")
    const report = await runPlan(plan, { output: folder.file("out") })
    expect(tree(folder.file("out"))).toEqual(report.files.toSorted())
  })

  test("while it gave names: old files that had stepped aside are back before anything else happens", async () => {
    using input = await plannedFolder()
    const { folder, plan } = input
    mkdirSync(folder.file("out"))
    await leaveLock(folder.file("out"))
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
    await leaveLock(folder.file("out"))
    writeFileSync(folder.file("out", OBSOLETE_FOLDER, "config.json"), "{}")
    const report = await runPlan(plan, { output: folder.file("out") })
    expect(tree(folder.file("out"))).toEqual(report.files.toSorted())
  })
})

test("killed while it takes and releases its lock: the next run gets it", async () => {
  using folder = temporaryFolder()
  const place = folderPlace(folder.path)
  const script = `
    const { acquireLock } = await import("./src/writer/lock.ts")
    console.log("ready")
    for (;;) await (await acquireLock(${JSON.stringify(place)})).release()
  `
  const next = randomWords(22)
  for (let i = 0; i < 20; i += 1) {
    const child = await startProcess(script)
    await Bun.sleep(next() % 10)
    await kill(child)
    expect(child.signalCode).toBe("SIGKILL")
    const left = await hasLockFile(place)
    const lock = await acquireLock(place)
    expect(lock.takenOver).toBe(left)
    await lock.release()
    expect(tree(folder.path)).toEqual([])
  }
}, 120_000)

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
  for (let i = 0; i < 40; i += 1) {
    const child = await startProcess(script)
    // Every other one at its beginning, where it takes the lock.
    await Bun.sleep(next() % (i % 2 === 0 ? 10 : 120))
    await kill(child)
    if (child.signalCode === "SIGKILL") killed += 1
    else expect(child.exitCode).toBe(0)
    if (existsSync(folder.file("out", "model.safetensors.index.json"))) {
      expect(contents(folder.file("out"))).toMatchObject(right)
    }
    // Some are killed over what others have left, some leave it to a run that ends.
    if (i % 4 !== 3) continue
    await runPlan(plan, { output: folder.file("out"), force: true })
    expect(contents(folder.file("out"))).toEqual(right)
  }
  expect(killed).toBeGreaterThan(10)
}, 240_000)

/** Every file below a path with a hash of its bytes. */
function contents(path: string): Record<string, string> {
  const files = tree(path).filter((name) => !name.endsWith("/"))
  return Object.fromEntries(files.map((name) => [name, Bun.hash(readFileSync(join(path, name))).toString(16)]))
}
