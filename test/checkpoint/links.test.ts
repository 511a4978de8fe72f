/** Links of a checkpoint's folder: what they lead to when they are followed, not when they were looked at, is what counts. */
import { describe, expect, test } from "bun:test"
import { execFileSync } from "node:child_process"
import { mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type FolderBounds, folderBounds, insideOpener } from "../../src/checkpoint/links.ts"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { readWhole } from "../../src/containers/file.ts"
import { MalformedError } from "../../src/errors.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import { runPlan } from "../../src/writer/run.ts"
import { temporaryFolder, tensor, writeCheckpointFolder } from "../support/checkpoints.ts"
import { ggufBytes, u32Entry } from "../support/gguf-file.ts"

/** How often a name that is turned all the time is opened. */
const TURNS = 1000

/** A folder `model` with a file and a folder with another beside it. */
function twoFolders() {
  const parent = temporaryFolder()
  const [model, elsewhere] = [parent.file("model"), parent.file("elsewhere")]
  for (const path of [model, elsewhere]) mkdirSync(path)
  writeFileSync(join(model, "inside"), "inside")
  writeFileSync(join(elsewhere, "secret"), "secret")
  return { model, elsewhere, secret: join(elsewhere, "secret"), [Symbol.dispose]: () => parent[Symbol.dispose]() }
}

async function readInside(path: string, bounds: FolderBounds): Promise<string> {
  return new TextDecoder().decode(await readWhole(path, 1000, insideOpener(bounds)))
}

describe("a file of the folder", () => {
  test("is read where it and its links stay inside", async () => {
    using folders = twoFolders()
    const { model, elsewhere, secret } = folders
    const bounds = await folderBounds(model)
    const links = {
      near: "inside",
      twice: "near",
      far: secret,
      under: "../elsewhere/secret",
      lost: "nothing",
      own: "own",
    }
    for (const [name, target] of Object.entries(links)) symlinkSync(target, join(model, name))
    symlinkSync(elsewhere, join(model, "sub"))
    const read = (name: string) => readInside(join(model, name), bounds)
    for (const name of ["inside", "near", "twice"]) expect(await read(name)).toBe("inside")
    for (const name of ["far", "under", "sub/secret"])
      await expect(read(name)).rejects.toThrow(/link leaves the folder/)
    await expect(read("lost")).rejects.toThrow(/no such file/)
    await expect(read("own")).rejects.toThrow(/too many symbolic links/)
  })

  test("is a regular one: pipes and devices are not opened", async () => {
    using folders = twoFolders()
    const { model } = folders
    const bounds = await folderBounds(model)
    execFileSync("mkfifo", [join(model, "pipe")])
    mkdirSync(join(model, "folder"))
    await expect(readInside(join(model, "pipe"), bounds)).rejects.toThrow(/expected a regular file, found a pipe/)
    await expect(readInside(join(model, "folder"), bounds)).rejects.toThrow(/expected a regular file, found a folder/)
    symlinkSync("/dev/zero", join(model, "device"))
    await expect(readInside(join(model, "device"), bounds)).rejects.toThrow(/link leaves the folder/)
  })
})

describe("a name that is turned", () => {
  test("a name that is turned between the check and the opening leads where it led at the check", async () => {
    using folders = twoFolders()
    const { model, secret } = folders
    const path = join(model, "x")
    const { root } = await folderBounds(model)
    const turn = (target: string) => {
      symlinkSync(target, join(model, "new"))
      renameSync(join(model, "new"), path)
    }
    // The bounds are asked for by the check, after it has looked where the file is and before anything is read.
    let turns = 0
    const turning = (target: string): FolderBounds => ({
      get root() {
        turns += 1
        turn(target)
        return root
      },
      blobs: undefined,
    })
    turn("inside")
    expect(await readInside(path, turning(secret))).toBe("inside")
    turn(secret)
    await expect(readInside(path, turning("inside"))).rejects.toThrow(/link leaves the folder/)
    expect(turns).toBeGreaterThanOrEqual(2)
  })

  test("a name that is turned all the time: never a byte from outside", async () => {
    using folders = twoFolders()
    const { model, secret } = folders
    const bounds = await folderBounds(model)
    const path = join(model, "x")
    symlinkSync("inside", path)
    const script = `
import os, sys
path, targets = sys.argv[1], ["inside", sys.argv[2]]
print("ready", flush=True)
for i in range(10**9):
    os.symlink(targets[i % 2], path + ".new")
    os.rename(path + ".new", path)
`
    const child = Bun.spawn(["python3", "-c", script, path, secret], { stdio: ["ignore", "pipe", "inherit"] })
    try {
      await child.stdout.getReader().read()
      const counts = { inside: 0, refused: 0 }
      for (let i = 0; i < TURNS; i += 1) {
        try {
          expect(await readInside(path, bounds)).toBe("inside")
          counts.inside += 1
        } catch (error) {
          if (!(error instanceof MalformedError)) throw error
          counts.refused += 1
        }
      }
      console.log(
        `link turned while it was opened: inside ${counts.inside}, refused ${counts.refused} of ${TURNS} times`,
      )
      expect(Math.min(counts.inside, counts.refused)).toBeGreaterThan(0)
    } finally {
      child.kill("SIGKILL")
      await child.exited
    }
  }, 60_000)
})

describe("a checkpoint", () => {
  test("a side file that has become a link is not copied", async () => {
    using parent = temporaryFolder()
    const path = parent.file("model")
    writeCheckpointFolder(path, {
      shards: { "model.safetensors": [tensor("a.weight", "BF16", [4, 8], 1)] },
      files: { "notes.txt": "notes", "sub/more.txt": "notes" },
    })
    mkdirSync(parent.file("elsewhere"))
    for (const name of ["notes.txt", "more.txt"]) writeFileSync(parent.file(`elsewhere/${name}`), "spied")
    const plan = planConversion(await openCheckpoint(path), {})
    const output = parent.file("out")
    const refuses = async () => {
      await expect(runPlan(plan, { output })).rejects.toThrow(/symbolic link leaves the folder/)
      expect(readdirSync(parent.path).toSorted()).toEqual(["elsewhere", "model"])
    }
    rmSync(join(path, "notes.txt"))
    symlinkSync("../elsewhere/notes.txt", join(path, "notes.txt"))
    await refuses()
    rmSync(join(path, "notes.txt"))
    writeFileSync(join(path, "notes.txt"), "notes")
    // Or its folder has.
    rmSync(join(path, "sub"), { recursive: true })
    symlinkSync("../elsewhere", join(path, "sub"))
    await refuses()
  })

  test("parts of a GGUF set, and a GGUF file of a folder, lie in the folder", async () => {
    using folders = twoFolders()
    const { model, elsewhere } = folders
    const part = (number: number) =>
      ggufBytes({ entries: [u32Entry("split.no", number), u32Entry("split.count", 2)], tensors: [] })
    const name = (number: number) => `x-0000${number + 1}-of-00002.gguf`
    writeFileSync(join(model, name(0)), part(0))
    writeFileSync(join(elsewhere, name(1)), part(1))
    symlinkSync(join(elsewhere, name(1)), join(model, name(1)))
    const first = join(model, name(0))
    await expect(openCheckpoint(first)).rejects.toThrow(/link leaves the folder/)
    rmSync(join(model, name(1)))
    writeFileSync(join(model, name(1)), part(1))
    expect((await openCheckpoint(first)).shards).toHaveLength(2)

    renameSync(first, join(elsewhere, name(0)))
    symlinkSync(join(elsewhere, name(0)), first)
    await expect(openCheckpoint(model)).rejects.toThrow(/link leaves the folder/)
  })
})
