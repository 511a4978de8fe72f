/** The recipes of README's "More than one machine", to be run as they stand there. */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { programPath } from "../reference/program.ts"
import { type TemporaryFolder, temporaryFolder } from "../support/checkpoints.ts"
import { writeGptOssFolder } from "../support/models.ts"

const HEADING = "## More than one machine"
/** What the recipes call the shared folder, and its input and output. */
const SHARED = "/shared"
const INPUT = "gpt-oss-20b"
const OUTPUT = "gpt-oss-20b-bf16"
/** Parts of the recipes; the one that is killed in its first run. */
export const PARTS = 8
export const KILLED = 3

/** Large enough that a part is still at work when it is killed, with a shard for each part and more. */
const SIZE = { layers: 12, experts: 4, hidden: 576, intermediate: 576, vocabulary: 64 } as const

/** The indented blocks of the section, in their order. */
function blocks(): string[] {
  const readme = readFileSync(join(import.meta.dir, "../../README.md"), "utf8")
  const section = readme.slice(readme.indexOf(`\n${HEADING}\n`) + 1)
  const body = section.slice(HEADING.length, section.indexOf("\n## ", HEADING.length))
  const found = body.split(/\n\n(?! {4})/).flatMap((paragraph) => {
    const lines = paragraph.split("\n").filter((line) => line.startsWith("    "))
    return lines.length === 0 ? [] : [lines.map((line) => `${line.slice(4)}\n`).join("")]
  })
  if (found.length !== 4) throw new Error(`README has ${found.length} recipes`)
  return found
}

/** Recipe texts with `shared` in the place of the shared folder. */
export function recipes(shared: string) {
  const [parallel = "", slurm = "", submit = "", kubernetes = ""] = blocks().map((text) =>
    text.replaceAll(SHARED, shared),
  )
  return { parallel, slurm, submit, kubernetes }
}

/**
 * A shared folder with an input, and the output of a single run of it; `bin` holds a `dequantizer` that is killed
 * (SIGKILL) when part KILLED works for the first time.
 */
export function sharedFolder(): SharedFolder {
  const folder = temporaryFolder("dequantizer-parts-")
  writeGptOssFolder(folder.file(INPUT), SIZE, 10)
  const whole = Bun.spawnSync([programPath(), "convert", folder.file(INPUT), "-o", folder.file("whole"), "-q"])
  if (whole.exitCode !== 0) throw new Error(whole.stderr.toString())
  const bin = folder.file("bin")
  mkdirSync(bin)
  symlinkSync(programPath(), folder.file("dequantizer"))
  const killed = folder.file("killed")
  const journal = join(folder.file(OUTPUT), `.dequantizer-part-${KILLED}-of-${PARTS}.journal`)
  const script = `#!/bin/sh
case "$*" in
*"--part ${KILLED}/${PARTS} "*)
  if mkdir ${killed} 2>/dev/null; then
    ${programPath()} "$@" &
    until [ -s ${journal} ]; do sleep 0.001; done
    kill -9 $!
    wait $!
    echo $? >${killed}/status
    exit 137
  fi ;;
esac
exec ${programPath()} "$@"
`
  writeFileSync(join(bin, "dequantizer"), script)
  chmodSync(join(bin, "dequantizer"), 0o755)
  return {
    folder,
    bin,
    output: folder.file(OUTPUT),
    killedStatus: () => (existsSync(killed) ? readFileSync(join(killed, "status"), "utf8").trim() : "not killed"),
    differences: () => differences(folder.file("whole"), folder.file(OUTPUT)),
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  }
}

export interface SharedFolder extends Disposable {
  readonly folder: TemporaryFolder
  readonly bin: string
  readonly output: string
  /** "137" once part KILLED was killed at work. */
  killedStatus(): string
  /** Names of files that one output has and the other has not, or not with the same bytes. */
  differences(): string[]
}

function differences(expected: string, found: string): string[] {
  const names = new Set([...readdirSync(expected), ...readdirSync(found)])
  return [...names].filter((name) => {
    const [a, b] = [join(expected, name), join(found, name)]
    return !existsSync(a) || !existsSync(b) || !readFileSync(a).equals(readFileSync(b))
  })
}
