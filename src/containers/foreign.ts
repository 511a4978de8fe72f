/**
 * Files of other formats that people hand to a safetensors reader, by their first bytes. A name in the message helps
 * more than "header is 14 GB long".
 */
import { type DequantizerError, UnsupportedError } from "../errors.ts"
import { escapeText, fileFault } from "./quote.ts"

/** Bytes that `foreignFile` wants to see; fewer are fine. */
export const FOREIGN_PREFIX_SIZE = 8

const SAFETENSORS_HINT = "use the safetensors files of the same model"
const PICKLE_HINT =
  "pickles run code when they are loaded and are never opened; use the safetensors files of the same model"

interface ForeignFormat {
  readonly title: string
  readonly hint: string
  readonly magic: string
}

/** Magic bytes as Latin-1 text. */
const FORMATS: readonly ForeignFormat[] = [
  { title: "a GGML file", hint: SAFETENSORS_HINT, magic: "lmgg" },
  { title: "a GGML file", hint: SAFETENSORS_HINT, magic: "tjgg" },
  { title: "a PyTorch file (ZIP of pickles)", hint: PICKLE_HINT, magic: "PK\u0003\u0004" },
  { title: "a Python pickle", hint: PICKLE_HINT, magic: "\u0080\u0002" },
  { title: "a Python pickle", hint: PICKLE_HINT, magic: "\u0080\u0003" },
  { title: "a Python pickle", hint: PICKLE_HINT, magic: "\u0080\u0004" },
  { title: "a Python pickle", hint: PICKLE_HINT, magic: "\u0080\u0005" },
  { title: "a NumPy array", hint: SAFETENSORS_HINT, magic: "\u0093NUMPY" },
  { title: "an HDF5 file", hint: SAFETENSORS_HINT, magic: "\u0089HDF" },
  { title: "a gzip archive", hint: "unpack it first", magic: "\u001f\u008b" },
  { title: "a Zstandard archive", hint: "unpack it first", magic: "\u0028\u00b5\u002f\u00fd" },
]

/** An error that names the format where `prefix`, the first bytes of a file, is that of another one. */
export function foreignFile(path: string, prefix: Uint8Array): DequantizerError | undefined {
  const text = String.fromCharCode(...prefix.subarray(0, FOREIGN_PREFIX_SIZE))
  const format = FORMATS.find(({ magic }) => text.startsWith(magic))
  if (format !== undefined) {
    return new UnsupportedError(`${escapeText(path)}: ${format.title} is not supported`, { hint: format.hint })
  }
  if (text.startsWith("GGUF")) {
    const hint = "its name should end in .gguf"
    return fileFault(path, "not a safetensors file", { expected: "its bytes", found: "a GGUF file", hint })
  }
  if (text.startsWith("version ")) {
    const hint = "the file itself was never downloaded: run `git lfs pull`, or use `hf download`"
    return fileFault(path, "not a safetensors file", { expected: "its bytes", found: "a Git LFS pointer", hint })
  }
  if (/^\s*<(!|html|\?xml|head)/i.test(text)) {
    const hint = "the download saved an error page in its place; download it again"
    return fileFault(path, "not a safetensors file", { expected: "its bytes", found: "a web page", hint })
  }
  return undefined
}
