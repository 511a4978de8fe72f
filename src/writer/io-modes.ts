/** How the files of a run are reached, where the caller leaves it open. Figures: README, "Speed". */
import { machineInfo } from "../native/machine.ts"
import type { Plan } from "../plan/plan.ts"
import { fileSystemOf } from "./place.ts"
import type { IoModeChoice, IoModes } from "./types.ts"

/** Outputs that are smaller are written through the page cache: the device takes them in one go at the end. */
const DIRECT_MIN = 64 * 2 ** 20

/** File systems that live in the page cache (linux/magic.h: TMPFS_MAGIC, RAMFS_MAGIC). */
const IN_MEMORY: ReadonlySet<number> = new Set([0x01021994, 0x858458f6])

/** The modes of a plan's run. `output`: a path on the file system that is written; it need not exist yet. */
export async function chooseIo(
  choice: IoModeChoice,
  plan: Pick<Plan, "bytesIn" | "bytesOut">,
  output: string | undefined,
): Promise<IoModes> {
  const dropCache = exceedsCache(Math.max(plan.bytesIn, plan.bytesOut))
  if (choice !== "auto") return { io: choice, targetIo: choice, dropCache }
  return { io: "auto", targetIo: await targetIo(plan.bytesOut, output), dropCache }
}

async function targetIo(bytes: number, output: string | undefined): Promise<IoModes["targetIo"]> {
  if (output !== undefined && IN_MEMORY.has(await fileSystemOf(output))) return "mmap"
  return bytes < DIRECT_MIN ? "pread" : "direct"
}

/** Whether files are so large that keeping them cached would push out what others have there. */
export function exceedsCache(bytes: number): boolean {
  const { memoryTotal, memoryLimit } = machineInfo()
  return bytes > Math.min(memoryTotal, memoryLimit ?? memoryTotal) / 2
}
