/** The file of a page, made before the work so that a place where it cannot be is told at once. */
import { type FileHandle, open, rm } from "node:fs/promises"
import { errorCode, ioFault } from "../../containers/file.ts"
import { escapeText } from "../../containers/quote.ts"
import { RefusedError } from "../../errors.ts"

export class PageFile implements AsyncDisposable {
  readonly path: string
  readonly #handle: FileHandle
  #written = false

  private constructor(path: string, handle: FileHandle) {
    this.path = path
    this.#handle = handle
  }

  /** Throws RefusedError where there is a file of that name, IoError where there can be none. */
  static async create(path: string): Promise<PageFile> {
    try {
      return new PageFile(path, await open(path, "wx"))
    } catch (error) {
      if (errorCode(error) === "EEXIST") {
        throw new RefusedError(`${escapeText(path)}: exists`, { hint: "remove it, or name another file", cause: error })
      }
      throw ioFault(path, error)
    }
  }

  /** A picture is wanted, not a page. */
  get isPicture(): boolean {
    return this.path.toLowerCase().endsWith(".svg")
  }

  async write(text: string): Promise<void> {
    try {
      await this.#handle.writeFile(text)
    } catch (error) {
      throw ioFault(this.path, error)
    }
    this.#written = true
  }

  /** A file that was not written goes. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close()
    if (!this.#written) await rm(this.path, { force: true })
  }
}
