/** Runs one broken input through the library as `inspect` does, and checks what every fault must be. */
import { expect } from "bun:test"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { DequantizerError } from "../../src/errors.ts"
import { takeInventory } from "../../src/schemes/index.ts"
import type { BrokenInput } from "./broken.ts"
import { temporaryFolder } from "./checkpoints.ts"

export async function faultOf(path: string): Promise<unknown> {
  try {
    takeInventory(await openCheckpoint(path))
    return undefined
  } catch (fault) {
    return fault
  }
}

/** Names of everything below a folder. Links are not followed: some of them lead in circles. */
function namesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((item) =>
    item.isDirectory() ? [item.name, ...namesBelow(join(folder, item.name))] : [item.name],
  )
}

/** Everything that must hold: the error's class and words, one line without control characters, nothing written. */
export async function expectFault(input: BrokenInput): Promise<void> {
  using folder = temporaryFolder()
  const path = input.build(folder.path)
  const before = namesBelow(folder.path)
  const fault = await faultOf(path)
  expect(fault).toBeInstanceOf(DequantizerError)
  if (!(fault instanceof DequantizerError)) return
  expect(fault.message).toMatch(input.says)
  expect(fault.exitCode).toBe(input.exitCode)
  expect(fault.message).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/)
  expect(fault.message.length).toBeLessThan(1000)
  expect(namesBelow(folder.path)).toEqual(before)
}
