/**
 * The journal of a run: what it makes (its fingerprint), which shards lie complete on the device, and, when the output
 * is about to get its names, which files these are. It lies beside the files that are being written and goes with the
 * end of the run; after a kill it tells `--resume` what can be kept, and any later run what the killed one has named.
 *
 * A line of JSON for each event. A line is added after the data that it speaks of is flushed, and is flushed itself
 * before anything is done that relies on it. What follows a line that is torn or unreadable is as if it were not there.
 */
import { constants } from "node:fs"
import { type FileHandle, lstat, open, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import { errorCode, ioFault, readWhole } from "../containers/file.ts"
import { isJsonArray, type JsonObject, type JsonValue, jsonInteger, parseJsonObject } from "../containers/json.ts"
import { DequantizerError } from "../errors.ts"
import { syncFolder } from "./files.ts"
import { type Fingerprint, parseFingerprint } from "./fingerprint.ts"
import { type RunPlace, runFileName } from "./run-files.ts"

/** A shard, or in parts of an output any file, that is whole and flushed, under its temporary name. */
export interface FinishedShard {
  readonly name: string
  readonly size: number
  /** Of all its bytes (kernels/convert/seal.zig). */
  readonly checksum: bigint
  /** Results that are NaN or infinite, and the first tensor that has one. */
  readonly nonFinite: { readonly count: number; readonly tensor: string | undefined }
}

/**
 * A file that was about to get its name. The inode tells it from another that has this name. (The device would not: a
 * folder that machines share has another number on each.)
 */
export interface NamedFile {
  readonly name: string
  readonly inode: bigint
}

/** What a journal begins with. */
export interface JournalStart {
  readonly fingerprint: Fingerprint
  /** The run is to replace an older output. */
  readonly replace: boolean
  /** Of all files of the output, in the order in which they get them; of the whole output in the journal of a part too. */
  readonly names: readonly string[]
}

export interface JournalState extends JournalStart {
  readonly shards: ReadonlyMap<string, FinishedShard>
  /** The files of an output that had begun to get its names, in their order. */
  readonly commit: readonly NamedFile[] | undefined
  /** A part is whole. */
  readonly done: boolean
  /** Bytes of the lines that were read; what follows is torn. */
  readonly size: number
}

/** A line for each of 100,000 shards is below this. */
const JOURNAL_SIZE_MAX = 64 * 1024 * 1024
const MODE = 0o644

/** Name of the journal in the folder in which files are written. */
export function journalName(place: RunPlace): string {
  return runFileName(place, "journal")
}

function journalPath(place: RunPlace): string {
  return join(place.folder, journalName(place))
}

/** Whether an earlier run has left a journal. */
export async function hasJournal(place: RunPlace): Promise<boolean> {
  try {
    return (await lstat(journalPath(place))).isFile()
  } catch (error) {
    if (errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR") return false
    throw ioFault(journalPath(place), error)
  }
}

/** A journal that is being written. */
export class Journal {
  readonly #path: string
  readonly #file: FileHandle
  #pending: Promise<void> = Promise.resolve()

  private constructor(path: string, file: FileHandle) {
    this.#path = path
    this.#file = file
  }

  /** Starts one, with shards that are there already; that of an earlier run must be gone. */
  static async create(place: RunPlace, start: JournalStart, shards: Iterable<FinishedShard> = []): Promise<Journal> {
    const path = journalPath(place)
    const journal = new Journal(path, await openJournal(path, constants.O_CREAT | constants.O_EXCL))
    const { fingerprint, replace, names } = start
    await journal.#append({ begin: fingerprint, replace, names }, ...[...shards].map(shardLine))
    // The folder as well: without its entry a journal is lost with the power.
    await syncFolder(dirname(path))
    return journal
  }

  /** Goes on with what an earlier run has left; a part is not done any more, for its files may be made again. */
  static async reopen(place: RunPlace, { size, done }: JournalState): Promise<Journal> {
    const journal = new Journal(journalPath(place), await openJournal(journalPath(place), 0))
    // Behind a torn line nothing would be read.
    await journal.#file.truncate(size)
    if (done) await journal.#append({ done: false })
    return journal
  }

  /** Notes a shard. Notes are written one after the other; `settle` tells of failures. */
  addShard(shard: FinishedShard): void {
    this.addTask(() => this.#append(shardLine(shard)))
  }

  /** Notes the end of a part, with further files of it. */
  async addDone(files: readonly FinishedShard[]): Promise<void> {
    await this.settle()
    await this.#append(...files.map(shardLine), { done: true })
  }

  /** Does something between two notes. */
  addTask(task: () => Promise<void>): void {
    this.#pending = this.#pending.then(task)
    // Whoever waits for `settle` hears of it; until then nobody does, and that must not end the process.
    this.#pending.catch(() => {})
  }

  /** The files get their names after this. */
  async addCommit(files: readonly NamedFile[]): Promise<void> {
    await this.settle()
    await this.#append({ commit: files.map(({ name, inode }) => [name, String(inode)]) })
  }

  /** Waits until all notes are on the device. Throws IoError. */
  async settle(): Promise<void> {
    await this.#pending
  }

  /** Stops writing; the file stays. */
  async close(): Promise<void> {
    await this.#pending.catch(() => {})
    await this.#file.close()
  }

  async #append(...lines: readonly unknown[]): Promise<void> {
    try {
      await this.#file.appendFile(lines.map((line) => `${JSON.stringify(line)}\n`).join(""))
      await this.#file.datasync()
    } catch (error) {
      throw ioFault(this.#path, error)
    }
  }
}

function shardLine({ name, size, checksum, nonFinite: { count, tensor } }: FinishedShard): unknown {
  return { shard: name, size, checksum: String(checksum), nonFinite: count, tensor: tensor ?? null }
}

async function openJournal(path: string, flags: number): Promise<FileHandle> {
  const all = constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW | constants.O_NONBLOCK | flags
  try {
    return await open(path, all, MODE)
  } catch (error) {
    throw ioFault(path, error)
  }
}

export async function removeJournal(place: RunPlace): Promise<void> {
  await rm(journalPath(place), { force: true }).catch((error: unknown) => {
    throw ioFault(journalPath(place), error)
  })
}

/** What an earlier run has noted; undefined where there is no journal, or none that can be read. */
export async function readJournal(place: RunPlace): Promise<JournalState | undefined> {
  const bytes = await journalBytes(place)
  if (bytes === undefined) return undefined
  const { lines, size } = wholeLines(bytes)
  const [first, ...rest] = lines
  const fingerprint = parseFingerprint(first?.get("begin"))
  if (first === undefined || fingerprint === undefined) return undefined
  const shards = new Map<string, FinishedShard>()
  let commit: readonly NamedFile[] | undefined
  let done = false
  for (const line of rest) {
    const shard = parseShard(line)
    if (shard !== undefined) shards.set(shard.name, shard)
    commit = parseCommit(line.get("commit")) ?? commit
    if (line.has("done")) done = line.get("done") === true
  }
  const names = stringsOf(first.get("names")).filter(isInside)
  return { fingerprint, replace: first.get("replace") === true, names, shards, commit, done, size }
}

/** undefined where there is no journal, also where another part takes its own away just now. */
async function journalBytes(place: RunPlace): Promise<Uint8Array | undefined> {
  if (!(await hasJournal(place))) return undefined
  try {
    return await readWhole(journalPath(place), JOURNAL_SIZE_MAX)
  } catch (error) {
    if (error instanceof DequantizerError && errorCode(error.cause) === "ENOENT") return undefined
    throw error
  }
}

/** The lines up to the first that is no object, or has no end. */
function wholeLines(bytes: Uint8Array): { readonly lines: readonly JsonObject[]; readonly size: number } {
  const lines: JsonObject[] = []
  let begin = 0
  for (;;) {
    const end = bytes.indexOf(0x0a, begin)
    if (end === -1) return { lines, size: begin }
    try {
      lines.push(parseJsonObject(bytes.subarray(begin, end), "journal"))
    } catch (error) {
      if (error instanceof DequantizerError) return { lines, size: begin }
      throw error
    }
    begin = end + 1
  }
}

function parseShard(line: JsonObject): FinishedShard | undefined {
  const name = line.get("shard")
  const size = jsonInteger(line.get("size"))
  const checksum = parseBigInt(line.get("checksum"))
  const count = jsonInteger(line.get("nonFinite"))
  const tensor = line.get("tensor")
  if (
    typeof name !== "string" ||
    !isInside(name) ||
    size === undefined ||
    checksum === undefined ||
    count === undefined
  )
    return undefined
  return { name, size, checksum, nonFinite: { count, tensor: typeof tensor === "string" ? tensor : undefined } }
}

function parseCommit(value: JsonValue | undefined): NamedFile[] | undefined {
  if (!isJsonArray(value)) return undefined
  return value.flatMap((entry) => {
    if (!isJsonArray(entry)) return []
    const [name, number] = entry
    const inode = parseBigInt(number)
    return typeof name === "string" && isInside(name) && inode !== undefined ? [{ name, inode }] : []
  })
}

function stringsOf(value: JsonValue | undefined): string[] {
  return isJsonArray(value) ? value.filter((item) => typeof item === "string") : []
}

/** Names become paths that are renamed and removed: whoever wrote the file, they must not lead out of the folder. */
function isInside(name: string): boolean {
  return name !== "" && !name.startsWith("/") && !name.includes("\0") && !name.split("/").includes("..")
}

function parseBigInt(value: JsonValue | undefined): bigint | undefined {
  return typeof value === "string" && /^[0-9]{1,20}$/.test(value) ? BigInt(value) : undefined
}
