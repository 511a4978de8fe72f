/**
 * Broken and hostile inputs: one list, used by the tests of the library and of the command line. Each builder writes
 * its input into an empty folder and gives the path that a user would name.
 */
import { brokenFiles } from "./broken-files.ts"
import { brokenFolders } from "./broken-folders.ts"
import { brokenGguf } from "./broken-gguf.ts"
import { brokenWeights } from "./broken-weights.ts"

export interface BrokenInput {
  /** What is wrong with it. */
  readonly name: string
  /** Exit code of `inspect` and `convert`. */
  readonly exitCode: 2 | 3 | 4 | 5 | 6
  /** What the one line of the error must say. */
  readonly says: RegExp
  readonly build: (folder: string) => string
}

export const brokenInputs: readonly BrokenInput[] = [...brokenFiles, ...brokenFolders, ...brokenWeights, ...brokenGguf]
