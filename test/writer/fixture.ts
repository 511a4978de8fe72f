/** What the tests of the writer share: an input on disk, its plan, and a look at everything that a folder holds. */
import { createHash } from "node:crypto"
import { lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs"
import { join } from "node:path"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import type { Plan, PlanOptions } from "../../src/plan/plan.ts"
import { type TemporaryFolder, temporaryFolder } from "../support/checkpoints.ts"
import { writeGptOssFolder } from "../support/models.ts"
import { type ReadTensor, readSafetensors } from "../support/reference.ts"

export const tiny = { layers: 2, experts: 3, hidden: 64, intermediate: 96, vocabulary: 16 } as const

/** A temporary folder with a small gpt-oss checkpoint in `in`, planned. */
export async function plannedFolder(
  options: Partial<PlanOptions> = {},
  size: Parameters<typeof writeGptOssFolder>[1] = tiny,
): Promise<{ folder: TemporaryFolder; plan: Plan } & Disposable> {
  const folder = temporaryFolder()
  writeGptOssFolder(folder.file("in"), size, 3)
  const plan = planConversion(await openCheckpoint(folder.file("in")), options)
  return { folder, plan, [Symbol.dispose]: () => folder[Symbol.dispose]() }
}

/** Relative names of all files and (with a slash) folders below a path, in order. */
export function tree(path: string, prefix = ""): string[] {
  const entries = readdirSync(path, { withFileTypes: true }).toSorted((a, b) => (a.name < b.name ? -1 : 1))
  return entries.flatMap((entry) => {
    const name = prefix + entry.name
    return entry.isDirectory() ? [`${name}/`, ...tree(join(path, entry.name), `${name}/`)] : [name]
  })
}

/** Name and SHA-256 of each file. */
export function contents(folder: string): Record<string, string> {
  const files = tree(folder).filter((name) => !name.endsWith("/"))
  return Object.fromEntries(files.map((name) => [name, sha256(readFileSync(join(folder, name)))]))
}

/** Name, mode, inode, and of files size, time and content, for everything below a path: equal means untouched. */
export function fingerprint(path: string): string[] {
  return tree(path).map((name) => {
    const stats = lstatSync(join(path, name))
    const parts: (string | number)[] = [name, stats.mode, stats.ino]
    if (stats.isSymbolicLink()) parts.push(readlinkSync(join(path, name)))
    if (stats.isFile()) parts.push(stats.size, stats.mtimeMs, sha256(readFileSync(join(path, name))))
    return parts.join(" ")
  })
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex")
}

/** All tensors of all weights files of a folder, or of one file. */
export function readTensors(path: string): Map<string, ReadTensor> {
  if (!statSync(path).isDirectory()) return readSafetensors(path)
  const files = tree(path).filter((name) => name.endsWith(".safetensors"))
  return new Map(files.flatMap((name) => [...readSafetensors(join(path, name))]))
}
