/**
 * The files that travel with a checkpoint. A converted folder should be what `hf download` of the dense model would
 * give: tokenizer, generation settings, templates, licence, code, in subfolders too. What is not copied is reported:
 * other forms of the weights, a subfolder that holds weights (`original/`, `onnx/`), links that leave the folder, names
 * that are not UTF-8.
 */
import type { Dirent } from "node:fs"
import { readdir, stat } from "node:fs/promises"
import { join } from "node:path"
import { ioFault, isLossyName } from "../containers/file.ts"
import { escapeText } from "../containers/quote.ts"
import { RefusedError } from "../errors.ts"
import type { SideFile } from "./checkpoint.ts"
import { type FolderBounds, insideOpener, insideTarget } from "./links.ts"
import { isManifest, MANIFEST_NAME } from "./manifest.ts"

/** A model's folder has dozens. More means that the path names something else, such as a home folder. */
const SIDE_FILE_COUNT_MAX = 10_000
const FOLDER_DEPTH_MAX = 16

/** Bookkeeping of tools, not part of a model: neither copied nor worth a word. */
const TOOL_FOLDERS: ReadonlySet<string> = new Set([
  ".git",
  ".cache",
  ".huggingface",
  "__pycache__",
  ".ipynb_checkpoints",
])

/** Files that describe the quantization, which the output no longer has. */
const QUANTIZATION_FILES: ReadonlySet<string> = new Set([
  "quantize_config.json",
  "quant_config.json",
  "hf_quant_config.json",
  "quantization_config.json",
  "quant_log.csv",
])

/** Weights in any form. `training_args.bin` and the like are none; `tokenizer.model` is none. */
const WEIGHT_FILE =
  /(\.(safetensors|pt|pth|ckpt|gguf|ggml|onnx|onnx_data|h5|msgpack|npz|ot|nemo|tflite|mlmodel)|model.*\.bin)$/i
/** Indexes of such files. */
const WEIGHT_INDEX = /\.(safetensors|bin|msgpack|h5)(\.[^.]+)?\.index\.json$/i

export function isWeightFile(name: string): boolean {
  return WEIGHT_FILE.test(name)
}

export interface FolderFiles {
  readonly sideFiles: readonly SideFile[]
  readonly leftOut: readonly string[]
}

/** Entries of a folder in the order of their names. Throws IoError. */
export async function listFolder(folder: string): Promise<Dirent[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true })
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1))
  } catch (error) {
    throw ioFault(folder, error)
  }
}

/** All files of the folder but those in `own`, which are the checkpoint itself: shards, index, config.json. */
export async function findSideFiles(
  folder: string,
  entries: readonly Dirent[],
  own: ReadonlySet<string>,
  bounds: FolderBounds,
): Promise<FolderFiles> {
  const sideFiles: SideFile[] = []
  const leftOut: string[] = []

  const visit = async (list: readonly Dirent[], prefix: string, depth: number): Promise<void> => {
    for (const entry of list) {
      const name = prefix + entry.name
      if (depth === 0 && own.has(name)) continue
      if (isLossyName(entry.name)) {
        leftOut.push(entry.isDirectory() ? `${name}/` : name)
      } else if (entry.isDirectory()) {
        if (!TOOL_FOLDERS.has(entry.name)) await visitFolder(name, depth)
      } else if (isWeightFile(entry.name)) {
        leftOut.push(name)
      } else if (!WEIGHT_INDEX.test(entry.name)) {
        await visitFile(name)
      }
    }
  }

  const visitFolder = async (name: string, depth: number): Promise<void> => {
    const list = await listFolder(join(folder, name))
    if (depth + 1 >= FOLDER_DEPTH_MAX || list.some((entry) => !entry.isDirectory() && isWeightFile(entry.name))) {
      leftOut.push(`${name}/`)
    } else {
      await visit(list, `${name}/`, depth + 1)
    }
  }

  const visitFile = async (name: string): Promise<void> => {
    const path = join(folder, name)
    const target = await insideTarget(path, bounds)
    const stats = target === undefined ? undefined : await statFile(target)
    if (stats?.isFile() !== true) return void leftOut.push(name)
    if (name === MANIFEST_NAME && (await isManifest(path, insideOpener(bounds)))) return
    sideFiles.push({ path, name, size: stats.size, quantization: QUANTIZATION_FILES.has(name), bounds })
    if (sideFiles.length > SIDE_FILE_COUNT_MAX) {
      const what = `has more than ${SIDE_FILE_COUNT_MAX} files besides the weights, which is no folder of one model`
      throw new RefusedError(`${escapeText(folder)}: ${what}`, {
        hint: "give the model a folder of its own, or name its file",
      })
    }
  }

  await visit(entries, "", 0)
  return { sideFiles, leftOut }
}

async function statFile(path: string) {
  try {
    return await stat(path)
  } catch (error) {
    throw ioFault(path, error)
  }
}
