/** What the machine offers, and which CPU level the kernels use. Sizes are bytes. */
import { UnsupportedError, UsageError } from "../errors.ts"
import { Machine, NONE, Status, WorkerPlace } from "./abi.gen.ts"
import { assertOk, native, statusName } from "./library.ts"
import { safeNumber, text, unpackStruct } from "./struct.ts"

export interface MachineInfo {
  /** Level in use, and every level that the program knows, best first, the scalar code last. */
  readonly level: string
  readonly levels: readonly { readonly name: string; readonly supported: boolean }[]
  /** Model name as the CPU gives it; "" where the system shows none. */
  readonly cpu: string
  readonly cpusOnline: number
  /** After sched_getaffinity. */
  readonly cpusAllowed: number
  /** Distinct cores among the allowed CPUs. */
  readonly coresAllowed: number
  readonly nodes: number
  /** CPUs that the cgroup grants, a fraction; undefined: no limit. */
  readonly cpuLimit: number | undefined
  /** What `-j 0` becomes. */
  readonly threads: number
  readonly memoryTotal: number
  readonly memoryAvailable: number
  /** undefined: the cgroup sets no limit. */
  readonly memoryLimit: number | undefined
  readonly hugePages: "never" | "madvise" | "always"
  readonly hugePageBytes: number
}

const HUGE_PAGES = ["never", "madvise", "always"] as const

export function machineInfo(): MachineInfo {
  const bytes = new Uint8Array(Machine.size)
  assertOk("dq_machine", native().dq_machine(bytes))
  const values = unpackStruct(Machine, bytes)
  const memoryLimit = safeNumber(values.memory_limit_cgroup)
  return {
    level: text(values.level),
    levels: levelNames().map((name, i) => ({ name, supported: ((values.level_mask >>> i) & 1) === 1 })),
    cpu: text(values.cpu),
    cpusOnline: values.cpu_count_online,
    cpusAllowed: values.cpu_count_allowed,
    coresAllowed: values.core_count_allowed,
    nodes: values.node_count,
    cpuLimit: values.cpu_limit_milli === 0 ? undefined : values.cpu_limit_milli / 1000,
    threads: values.thread_count,
    memoryTotal: safeNumber(values.memory_total),
    memoryAvailable: safeNumber(values.memory_available),
    memoryLimit: memoryLimit === 0 ? undefined : memoryLimit,
    hugePages: HUGE_PAGES[values.huge_pages]!,
    hugePageBytes: values.huge_page_kib * 1024,
  }
}

/** Where a worker runs. */
export interface WorkerInfo {
  /** The system's number of its memory node. */
  readonly node: number
  /** The CPU it is bound to; undefined: it may move within its node. */
  readonly cpu: number | undefined
}

/** More than any team has. */
const WORKER_COUNT_MAX = 1024

/** The workers that `-j 0` gives. */
export function machineWorkers(): WorkerInfo[] {
  const bytes = new Uint8Array(WORKER_COUNT_MAX * WorkerPlace.size)
  const count = Math.min(native().dq_machine_workers(bytes, WORKER_COUNT_MAX), WORKER_COUNT_MAX)
  return Array.from({ length: count }, (_, worker) => {
    const { node, cpu } = unpackStruct(WorkerPlace, bytes.subarray(worker * WorkerPlace.size))
    return { node, cpu: cpu === NONE ? undefined : cpu }
  })
}

/** Every level that the program knows, best first, the scalar code last. */
export function levelNames(): string[] {
  const names: string[] = []
  const bytes = new Uint8Array(32)
  for (;;) {
    const size = native().dq_level_name(names.length, bytes, bytes.length)
    if (size === 0) return names
    names.push(new TextDecoder().decode(bytes.subarray(0, size)))
  }
}

/**
 * Makes `name` the level of later jobs; undefined: the best one of this CPU. Throws UsageError where there is no such
 * level, UnsupportedError where this CPU lacks it.
 */
export function selectLevel(name: string | undefined): void {
  // An empty array has no address to lend.
  const bytes = new TextEncoder().encode(name === undefined ? "\0" : name)
  if (bytes.length === 0) throw new UsageError(`level "" is unknown`, { hint: `levels: ${levelNames().join(", ")}` })
  const status = native().dq_level_select(bytes, name === undefined ? 0 : bytes.length)
  if (status !== Status.unsupported) {
    assertOk("dq_level_select", status)
    return
  }
  if (!levelNames().includes(name ?? "")) {
    throw new UsageError(`level "${name}" is unknown`, { hint: `levels: ${levelNames().join(", ")}` })
  }
  throw new UnsupportedError(`this CPU cannot run level "${name}" (${statusName(status)})`, {
    hint: `levels of this machine: ${machineInfo()
      .levels.filter((level) => level.supported)
      .map((level) => level.name)
      .join(", ")}`,
  })
}
