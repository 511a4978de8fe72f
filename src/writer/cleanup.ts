/**
 * What a run has made and must take away again if it does not end well. Removing is idempotent and goes on past
 * errors: each thing that is already gone is fine, and nothing that the run did not make is touched.
 */
import { lstat, mkdir, rm, rmdir } from "node:fs/promises"
import { dirname, join } from "node:path"
import { errorCode, ioFault } from "../containers/file.ts"
import { escapeText } from "../containers/quote.ts"
import { RefusedError } from "../errors.ts"

export class Workspace {
  readonly #files = new Set<string>()
  /** In the order of their making: outer ones first. */
  readonly #folders: string[] = []

  /** Files that are about to be made; those that stay are taken out again by `keepAll`. */
  addFiles(paths: Iterable<string>): void {
    for (const path of paths) this.#files.add(path)
  }

  /** Makes a folder and remembers it, unless it is there. */
  async makeFolder(path: string): Promise<void> {
    try {
      await mkdir(path)
      this.#folders.push(path)
    } catch (error) {
      if (errorCode(error) !== "EEXIST") throw ioFault(path, error)
      // A link would lead the files out of the output, perhaps into the input.
      if (!(await lstat(path)).isDirectory()) throw new RefusedError(`${escapeText(path)}: exists and is no folder`)
    }
  }

  /** Makes the folders between `root`, which exists, and the file `name` below it. */
  async makeFoldersFor(root: string, name: string): Promise<void> {
    const parts = dirname(name).split("/")
    for (const [i] of parts.entries()) {
      if (parts[i] !== ".") await this.makeFolder(join(root, ...parts.slice(0, i + 1)))
    }
  }

  /** These stay, whatever becomes of the run, and with them the folders that they are in. */
  keep(paths: Iterable<string>): void {
    for (const path of paths) this.#files.delete(path)
  }

  /** The run has succeeded: what it made stays. */
  keepAll(): void {
    this.#files.clear()
    this.#folders.length = 0
  }

  /** Removes every file of the run that has not got its final name. */
  async discardFiles(): Promise<void> {
    for (const path of this.#files) await rm(path, { force: true }).catch(ignore)
    this.#files.clear()
  }

  /** Removes, from the inside out, every folder of the run; one that somebody else has put something into stays. */
  async discardFolders(): Promise<void> {
    for (const path of this.#folders.toReversed()) await rmdir(path).catch(ignore)
    this.#folders.length = 0
  }
}

/** A fault while cleaning up must not hide the fault that made it necessary. */
function ignore(): void {}
