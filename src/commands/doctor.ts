/** `doctor`: what the program finds on this machine, and whether its kernels are right here. */
import { accessSync, constants, readFileSync, realpathSync, statfsSync } from "node:fs"
import { CheckError, DequantizerError, IoError } from "../errors.ts"
import { formatBytes, formatMemory, formatPlural } from "../format.ts"
import { temporaryFolder } from "../native/library.ts"
import { type MachineInfo, machineInfo, machineWorkers, type WorkerInfo } from "../native/machine.ts"
import { command } from "../ui/command.ts"
import type { Ui } from "../ui/globals.ts"
import { flag } from "../ui/option.ts"
import { renderFacts, renderTable } from "../ui/table.ts"
import { type Palette, print, printLines } from "../ui/terminal.ts"
import { useLevel } from "./level.ts"
import { type LevelResult, selfTest } from "./selftest.ts"

interface Folder {
  readonly path: string
  readonly writable: boolean
  /** Files in it may be executed, which loading the native library needs. */
  readonly executable: boolean
  readonly freeBytes: number
  readonly totalBytes: number
}

/** The mount options of the file system that holds `path`: the last mount whose point is a prefix of it. */
function mountOptions(path: string): readonly string[] {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n")
  let options: readonly string[] = []
  let longest = -1
  for (const line of lines) {
    const fields = line.split(" ")
    // Blanks in mount points are written as octal escapes.
    const point = (fields[4] ?? "").replace(/\\(\d{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    )
    const holds = point === "/" || path === point || path.startsWith(`${point}/`)
    if (point === "" || !holds || point.length < longest) continue
    longest = point.length
    options = (fields[5] ?? "").split(",")
  }
  return options
}

/** Throws IoError where there is no such folder. */
function examineFolder(path: string): Folder {
  try {
    const real = realpathSync(path)
    const space = statfsSync(real)
    return {
      path,
      writable: canWrite(real),
      executable: !mountOptions(real).includes("noexec"),
      freeBytes: space.bavail * space.bsize,
      totalBytes: space.blocks * space.bsize,
    }
  } catch (cause) {
    throw new IoError(`${path}: the folder cannot be examined: ${String(cause)}`, { cause })
  }
}

function canWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** The sentence that a folder deserves after its path. */
function folderState(folder: Folder): string {
  const write = folder.writable ? "writable" : "not writable"
  return `${write}, ${folder.executable ? "exec" : "noexec"}, ${freeSpace(folder)}`
}

function freeSpace(folder: Folder): string {
  return `${formatBytes(folder.freeBytes)} free of ${formatBytes(folder.totalBytes)}`
}

/** Nodes, and which workers are next to each: a product gives each of them an equal run of rows. */
function numaText(nodes: number, workers: readonly WorkerInfo[]): string {
  const all = formatPlural(nodes, "node")
  const numbers = [...new Set(workers.map((worker) => worker.node))].toSorted((a, b) => a - b)
  const parts = numbers.map((node) => {
    const here = workers.filter((worker) => worker.node === node)
    return `node ${node}: ${formatPlural(here.length, "worker")}`
  })
  return nodes === 1 ? all : `${all}; ${parts.join(", ")}`
}

/** Workers that are listed without --verbose. */
const WORKERS_SHOWN = 16

/** Which worker of a product has which share of the rows. */
function workerLines(workers: readonly WorkerInfo[], verbose: boolean, paint: Palette): string[] {
  const columns = [
    { title: "WORKER", align: "right" },
    { title: "CPU", align: "right" },
    { title: "NODE", align: "right" },
    { title: "ROWS OF A PRODUCT" },
  ] as const
  const share = (worker: number) => `${((100 * worker) / workers.length).toFixed(1)} %`
  const shown = verbose ? workers : workers.slice(0, WORKERS_SHOWN)
  const rows = shown.map(({ cpu, node }, worker) => [
    String(worker),
    cpu === undefined ? "any" : String(cpu),
    String(node),
    `${share(worker)} to ${share(worker + 1)}`,
  ])
  const rest = workers.length - shown.length
  const more = rest > 0 ? [`  ${formatPlural(rest, "more worker")}; -v lists all`] : []
  return [...renderTable(columns, rows, { indent: 2, paintTitle: paint.faint }), ...more]
}

function machineFacts(machine: MachineInfo, workers: readonly WorkerInfo[]): (readonly [string, string])[] {
  const supported = machine.levels.filter((level) => level.supported).map((level) => level.name)
  const online = formatPlural(machine.cpusOnline, "CPU")
  const cpuLimit = machine.cpuLimit === undefined ? "no CPU limit" : `${machine.cpuLimit} CPUs`
  const memoryLimit = machine.memoryLimit === undefined ? "no memory limit" : formatMemory(machine.memoryLimit)
  return [
    ["cpu", machine.cpu === "" ? "unknown" : machine.cpu],
    ["level", `${machine.level}  (this CPU has ${supported.join(", ")})`],
    ["cores", `${formatPlural(machine.coresAllowed, "core")} and ${machine.cpusAllowed} of ${online} allowed`],
    ["threads", `${machine.threads}  (what -j 0 becomes)`],
    ["numa", numaText(machine.nodes, workers)],
    ["cgroup", `${cpuLimit}, ${memoryLimit}`],
    ["memory", `${formatMemory(machine.memoryAvailable)} available of ${formatMemory(machine.memoryTotal)}`],
    ["huge pages", `${machine.hugePages}, ${formatMemory(machine.hugePageBytes)}`],
  ]
}

function selfTestLines(results: readonly LevelResult[], paint: Palette): string[] {
  const rows = results.map((result) => [
    result.level,
    result.supported ? (result.mismatch === undefined ? "ok" : "WRONG") : "–",
    result.supported
      ? (result.mismatch ?? `${formatPlural(result.compared, "matrix", "matrices")} equal to the formats' definitions`)
      : "not on this CPU",
  ])
  const columns = [{ title: "LEVEL" }, { title: "RESULT" }, { title: "" }]
  return renderTable(columns, rows, { indent: 2, paintTitle: paint.faint }).map((line) =>
    line.replace(/ ok( |$)/, ` ${paint.good("ok")}$1`).replace(" WRONG ", ` ${paint.bad("WRONG")} `),
  )
}

interface Findings {
  readonly temporary: Folder
  readonly current: Folder
  readonly machine: MachineInfo | undefined
  readonly workers: readonly WorkerInfo[]
  readonly selfTest: readonly LevelResult[] | undefined
}

function toJson(findings: Findings): unknown {
  const folder = (one: Folder) => ({
    path: one.path,
    writable: one.writable,
    executable: one.executable,
    free_bytes: one.freeBytes,
    total_bytes: one.totalBytes,
  })
  const { machine } = findings
  return {
    schema: 1,
    machine:
      machine === undefined
        ? null
        : {
            cpu: machine.cpu,
            level: machine.level,
            levels: machine.levels,
            cpus_online: machine.cpusOnline,
            cpus_allowed: machine.cpusAllowed,
            cores_allowed: machine.coresAllowed,
            threads: machine.threads,
            numa_nodes: machine.nodes,
            workers: findings.workers.map(({ cpu, node }) => ({ cpu: cpu ?? null, node })),
            cgroup_cpus: machine.cpuLimit ?? null,
            cgroup_memory_bytes: machine.memoryLimit ?? null,
            memory_total_bytes: machine.memoryTotal,
            memory_available_bytes: machine.memoryAvailable,
            huge_pages: machine.hugePages,
            huge_page_bytes: machine.hugePageBytes,
          },
    temporary_folder: folder(findings.temporary),
    current_folder: folder(findings.current),
    ...(findings.selfTest === undefined
      ? {}
      : {
          self_test: findings.selfTest.map((result) => ({
            level: result.level,
            supported: result.supported,
            ok: result.supported ? result.mismatch === undefined : null,
            compared: result.compared,
            mismatch: result.mismatch ?? null,
          })),
        }),
  }
}

function printFindings(findings: Findings, { paint, verbose }: Pick<Ui, "paint" | "verbose">): void {
  const { temporary, current, machine, workers } = findings
  const facts: (readonly [string, string])[] = [
    ...(machine === undefined ? [] : machineFacts(machine, workers)),
    ["temp folder", `${temporary.path}  ${folderState(temporary)}`],
    ["disk here", freeSpace(current)],
  ]
  printLines(renderFacts(facts, { paintName: paint.faint }))
  if (workers.length > 0)
    printLines(["", paint.heading("workers of a product"), ...workerLines(workers, verbose, paint)])
  if (findings.selfTest !== undefined) {
    printLines(["", paint.heading("self-test of the kernels"), ...selfTestLines(findings.selfTest, paint)])
  }
}

export default command(
  {
    name: "doctor",
    summary: "CPU level, NUMA, memory, huge pages, disk; kernel self-test",
    usage: "[--selftest]",
    positionals: [],
    options: { selftest: flag({ help: "decode known blocks at every level of this CPU" }) },
    json: true,
  },
  ({ values, globals, ui }) => {
    const temporary = examineFolder(temporaryFolder())
    const current = examineFolder(process.cwd())
    let machine: MachineInfo | undefined
    let workers: readonly WorkerInfo[] = []
    let results: readonly LevelResult[] | undefined
    let failure: DequantizerError | undefined
    try {
      useLevel(globals)
      machine = machineInfo()
      workers = machineWorkers()
      if (values.selftest) results = selfTest()
    } catch (error) {
      // The rest of the findings says why the library does not load, so it is printed first.
      if (!(error instanceof DequantizerError)) throw error
      failure = error
    }
    const findings: Findings = { temporary, current, machine, workers, selfTest: results }
    if (ui.json) print(`${JSON.stringify(toJson(findings))}\n`)
    else printFindings(findings, ui)
    if (failure !== undefined) throw failure
    const wrong = results?.find((result) => result.mismatch !== undefined)
    if (wrong !== undefined) throw new CheckError(`self-test: level ${wrong.level}: ${wrong.mismatch}`)
    return undefined
  },
)
