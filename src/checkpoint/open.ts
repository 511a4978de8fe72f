/**
 * Opening a checkpoint: what the user's path means, which files belong to it, and all headers, checked. No tensor
 * byte is read.
 */
import type { Dirent } from "node:fs"
import { stat } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import type { ContainerFile } from "../containers/container.ts"
import { ioFault, readExactly, readWhole, withFile } from "../containers/file.ts"
import { GGUF_MAGIC } from "../containers/gguf.ts"
import { parseJsonObject } from "../containers/json.ts"
import { escapeText, fileFault, quote } from "../containers/quote.ts"
import { openSafetensors } from "../containers/safetensors.ts"
import { UnsupportedError, UsageError } from "../errors.ts"
import type { Checkpoint, CheckpointIndex } from "./checkpoint.ts"
import { mapConcurrent } from "./concurrent.ts"
import { DECLARING_FILES, type DeclaringFile, findDeclared } from "./declared.ts"
import { collectTensors, readIndex, shardNames } from "./index-file.ts"
import { type FolderBounds, folderBounds, insideOpener } from "./links.ts"
import { ggufFileOf, openGgufCheckpoint } from "./open-gguf.ts"
import { findSideFiles, listFolder } from "./side-files.ts"

/**
 * Headers read at one time: enough to hide the latency of a network file system, few enough for any limit of open
 * files.
 */
const OPEN_COUNT_MAX = 16
/**
 * Of all shards together: those of the largest models take 30 MB. A folder of many headers that are each as long as one may
 * be would fill the memory.
 */
const HEADERS_SIZE_MAX = 500_000_000
/** config.json of the largest models is below 100 KB; embedded per-module settings reach a few MB. */
const CONFIG_SIZE_MAX = 64 * 1024 * 1024

const CONFIG_NAME = "config.json"
const INDEX_SUFFIX = ".safetensors.index.json"
const INDEX_NAME = `model${INDEX_SUFFIX}`

/**
 * Opens a .safetensors or GGUF file, a folder (with an index, or with all its .safetensors files), or an index file,
 * which stands for its folder. Throws MalformedError, UnsupportedError for known other formats, UsageError where the path
 * is ambiguous, IoError where something cannot be read.
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const stats = await statPath(path)
  if (stats.isDirectory()) return await openFolder(path, path, undefined)
  if (path.endsWith(INDEX_SUFFIX)) return await openFolder(path, dirname(path), basename(path))
  if (path.endsWith(".index.json")) throw unsupported(path, "the index of another format")
  if (path.endsWith(".json")) {
    throw new UsageError(`${escapeText(path)}: holds no tensors`, { hint: "name the folder that it is in" })
  }
  return (await startsWith(path, GGUF_MAGIC)) ? await openGgufCheckpoint(path) : await openFile(path)
}

/** Whether the file's first bytes are these; the name of a file decides nothing. */
async function startsWith(path: string, magic: string): Promise<boolean> {
  return await withFile(path, path, async (handle, file) => {
    if (file.size < magic.length) return false
    return new TextDecoder("latin1").decode(await readExactly(handle, path, 0, magic.length)) === magic
  })
}

async function statPath(path: string) {
  try {
    return await stat(path)
  } catch (error) {
    throw ioFault(path, error)
  }
}

async function openFile(path: string): Promise<Checkpoint> {
  const shard = await openSafetensors(path)
  const folder = dirname(path)
  const entries = await listFolder(folder)
  const names = new Set(entries.map((entry) => entry.name))
  const settings = await readSettings(folder, names, await folderBounds(folder))
  return {
    path,
    kind: "file",
    folder,
    ...tensorsOf([shard], undefined),
    index: undefined,
    ...settings,
    gguf: undefined,
    sideFiles: [],
    leftOut: [],
  }
}

async function openFolder(path: string, folder: string, indexName: string | undefined): Promise<Checkpoint> {
  const entries = await listFolder(folder)
  const names = new Set(entries.map((entry) => entry.name))
  const bounds = await folderBounds(folder)
  const chosen = indexName ?? chooseIndex(folder, entries)
  if (chosen === undefined && !entries.some(({ name }) => name.endsWith(".safetensors"))) {
    const gguf = ggufFileOf(folder, [...names])
    if (gguf !== undefined) return await openGgufCheckpoint(join(folder, gguf), insideOpener(bounds))
  }
  let index: CheckpointIndex | undefined
  if (chosen !== undefined) {
    index = await readIndex(join(folder, chosen), insideOpener(bounds))
  }
  const shardList = index === undefined ? unindexedShards(folder, entries) : shardNames(index)
  for (const name of shardList) if (!names.has(name)) throw missingShard(index, folder, name)

  let headerBytes = 0
  const shards = await mapConcurrent(shardList, OPEN_COUNT_MAX, async (name) => {
    const shard = await openSafetensors(join(folder, name), name, insideOpener(bounds))
    headerBytes += shard.headerSize
    if (headerBytes > HEADERS_SIZE_MAX) {
      throw fileFault(folder, "headers of the shards are too long together", {
        expected: `at most ${HEADERS_SIZE_MAX} bytes`,
        found: `at least ${headerBytes}`,
      })
    }
    return shard
  })
  const settings = await readSettings(folder, names, bounds)
  const own = new Set([...shardList, CONFIG_NAME, ...(chosen === undefined ? [] : [chosen])])
  const { sideFiles, leftOut } = await findSideFiles(folder, entries, own, bounds)
  const rest = { index, ...settings, gguf: undefined, sideFiles, leftOut }
  return { path, kind: "folder", folder, ...tensorsOf(shards, index), ...rest }
}

function tensorsOf(
  shards: readonly ContainerFile[],
  index: CheckpointIndex | undefined,
): Pick<Checkpoint, "shards" | "tensors" | "tensorBytes"> {
  const tensors = collectTensors(shards, index)
  let tensorBytes = 0
  for (const tensor of tensors.values()) tensorBytes += tensor.size
  return { shards, tensors, tensorBytes }
}

/** The index to use: transformers' own name, or the only one there is. */
function chooseIndex(folder: string, entries: readonly Dirent[]): string | undefined {
  const indexes = entries.map((entry) => entry.name).filter((name) => name.endsWith(INDEX_SUFFIX))
  if (indexes.includes(INDEX_NAME) || indexes.length <= 1)
    return indexes.find((name) => name === INDEX_NAME) ?? indexes[0]
  const found = indexes.map(quote).join(", ")
  throw new UsageError(`${escapeText(folder)}: holds several checkpoints (${found})`, {
    hint: "name the index file of one",
  })
}

/**
 * The .safetensors files of a folder without index. Mistral's `consolidated` form and adapters lie beside the same
 * model's files and are not part of them.
 */
function unindexedShards(folder: string, entries: readonly Dirent[]): string[] {
  const all = entries.map((entry) => entry.name).filter((name) => name.endsWith(".safetensors"))
  const main = all.filter((name) => !/^(consolidated|adapter_model)/.test(name))
  const shards = main.length > 0 ? main : all
  if (shards.length === 0) throw noShards(folder, entries)
  checkNumbering(folder, shards)
  return shards
}

/**
 * Files named `…-00001-of-00003.safetensors` promise how many there are; one that is missing would pass unseen
 * without an index.
 */
function checkNumbering(folder: string, shards: readonly string[]): void {
  const counts = new Map<string, number>()
  for (const name of shards) {
    const set = /^(.*)-\d+-of-\d+\.safetensors$/.exec(name)?.[1]
    if (set !== undefined) counts.set(set, (counts.get(set) ?? 0) + 1)
  }
  for (const name of shards) {
    const [, set = "", total] = /^(.*)-\d+-of-(\d+)\.safetensors$/.exec(name) ?? []
    const count = counts.get(set) ?? 0
    if (total === undefined || count >= Number(total)) continue
    const values = { expected: `${Number(total)} files`, found: String(count) }
    throw fileFault(folder, `shards of ${quote(set)} are missing`, { ...values, hint: "the download is incomplete" })
  }
}

/** Why a folder has nothing to open: the format that it holds instead, if one is recognised. */
function noShards(folder: string, entries: readonly Dirent[]): Error {
  const named = (pattern: RegExp) => entries.some((entry) => pattern.test(entry.name))
  if (named(/\.(pt|pth|ckpt)$|model.*\.bin$/i)) return unsupported(folder, "a PyTorch pickle")
  if (named(/\.onnx$/i)) return unsupported(folder, "ONNX")
  if (named(/\.(h5|msgpack)$/i)) return unsupported(folder, "a TensorFlow or Flax checkpoint")
  return fileFault(folder, "folder holds no .safetensors file")
}

function unsupported(path: string, format: string): UnsupportedError {
  const hint = "use the safetensors files of the same model"
  return new UnsupportedError(`${escapeText(path)}: ${format} is not supported`, { hint })
}

function missingShard(index: CheckpointIndex | undefined, folder: string, name: string): Error {
  const found = "no such file"
  const hint = "the download is incomplete"
  return fileFault(index?.path ?? folder, "shard is missing", { expected: quote(name), found, hint })
}

type Settings = Pick<Checkpoint, "config" | "configText" | "declared">

async function readSettings(folder: string, names: ReadonlySet<string>, bounds: FolderBounds): Promise<Settings> {
  const config = names.has(CONFIG_NAME) ? await readDeclaring(folder, CONFIG_NAME, bounds) : undefined
  const sides: DeclaringFile[] = []
  for (const name of DECLARING_FILES) if (names.has(name)) sides.push(await readDeclaring(folder, name, bounds))
  return { config: config?.content, configText: config?.text, declared: findDeclared(config, sides) }
}

async function readDeclaring(
  folder: string,
  name: string,
  bounds: FolderBounds,
): Promise<DeclaringFile & { text: string }> {
  const path = join(folder, name)
  const bytes = await readWhole(path, CONFIG_SIZE_MAX, insideOpener(bounds))
  const content = parseJsonObject(bytes, path, { pythonConstants: true })
  return { path, name, content, text: new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes) }
}
