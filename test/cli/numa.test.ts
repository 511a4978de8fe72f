/**
 * Two memory nodes on any machine: in a mount namespace the program sees another /sys/devices/system/node. Memory of
 * the second node there is none, so that binding to it is refused as in a container that forbids it.
 */
import { describe, expect, test } from "bun:test"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { mxfp4, writeModel } from "../matvec/model.ts"
import { type TemporaryFolder, temporaryFolder } from "../support/checkpoints.ts"
import { BIN, type Ended, run, runCommand } from "./program.ts"

const NODES = "/sys/devices/system/node"
const NAME = "block.0.mlp.mlp1_weight"

/** The CPUs that this process may use. */
function allowedCpus(): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? ""
  return list.split(",").flatMap((range) => {
    const [first, last = first] = range.split("-").map(Number)
    return Array.from({ length: last! - first! + 1 }, (_, i) => first! + i)
  })
}

function reasonToSkip(): string {
  if (allowedCpus().length < 2) return "one CPU alone"
  const entered = Bun.spawnSync(["unshare", "--mount", "mount", "--bind", "/", "/"], { stderr: "ignore" })
  return entered.success ? "" : "no mount namespace may be made here"
}

const reason = reasonToSkip()

function writeNodes(folder: TemporaryFolder): string {
  const [first, ...others] = allowedCpus()
  const lists = [String(first), others.join(",")]
  for (const [node, cpus] of lists.entries()) {
    mkdirSync(folder.file("node", `node${node}`), { recursive: true })
    writeFileSync(folder.file("node", `node${node}`, "cpulist"), `${cpus}\n`)
  }
  writeFileSync(folder.file("node", "online"), "0-1\n")
  return folder.file("node")
}

describe.skipIf(reason !== "")(`two nodes${reason === "" ? "" : ` (skipped: ${reason})`}`, () => {
  const runWith = async (nodes: string, args: readonly string[]): Promise<Ended> => {
    const script = `mount --bind "$0" ${NODES} && exec "$@"`
    return await runCommand(["unshare", "--mount", "sh", "-c", script, nodes, BIN, ...args])
  }

  test("doctor shows which workers are next to each", async () => {
    using folder = temporaryFolder()
    const { stdout, exitCode } = await runWith(writeNodes(folder), ["doctor"])
    expect(stdout).toMatch(/^numa +2 nodes; node 0: \d+ workers?, node 1: \d+ workers?$/m)
    expect(stdout).toMatch(/^ +0 +\S+ +0 {2}0\.0 % to [\d.]+ %$/m)
    expect(stdout).toMatch(/^ +1 +\S+ +1 {2}[\d.]+ % to [\d.]+ %$/m)
    expect(exitCode).toBe(0)
  })

  test("matvec splits the rows over both, and tells that memory cannot be bound", async () => {
    using folder = temporaryFolder()
    const nodes = writeNodes(folder)
    const path = writeModel(folder, mxfp4(1, 3000, 512, 1).tensors)
    const args = ["matvec", path, "-t", NAME, "-j", "2", "--arithmetic", "int8", "--repeat", "1", "--json", "-o"]
    const bound = await runWith(nodes, [...args, folder.file("bound.npy")])
    const { workers } = JSON.parse(bound.stdout)
    expect(workers.map((worker: { node: number }) => worker.node)).toEqual([0, 1])
    expect(workers.map((worker: { rows: unknown }) => worker.rows)).toEqual([
      [
        [0, 752],
        [1500, 2252],
      ],
      [
        [752, 1500],
        [2252, 3000],
      ],
    ])
    expect(bound.stderr).toMatch(/^memory cannot be bound to node 1 \(E[A-Z]+\): it is where [^\n]+\n$/)
    expect(bound.exitCode).toBe(0)

    const off = await runWith(nodes, [...args, folder.file("off.npy"), "--numa", "off"])
    expect(off.stderr).toBe("")
    expect(JSON.parse(off.stdout).workers).toMatchObject([{ cpu: null, node: 0, bound: false }, { cpu: null }])
    expect(readFileSync(folder.file("off.npy"))).toEqual(readFileSync(folder.file("bound.npy")))
  })
})

test("matvec -v shows which worker has which rows", async () => {
  using folder = temporaryFolder()
  const path = writeModel(folder, mxfp4(1, 64, 64, 1).tensors)
  const { stderr } = await run(["matvec", path, "-t", NAME, "-v", "--repeat", "1", "-j", "1"])
  const [titles, row] = stderr.trimEnd().split("\n")
  expect(titles).toMatch(/^WORKER {2}CPU {2}NODE {2}ROWS +TILES$/)
  expect(row).toMatch(/^ {5}0 +(any|\d+) +\d+ {2}0 to 31, 32 to 63 +\S+ kB$/)
})
