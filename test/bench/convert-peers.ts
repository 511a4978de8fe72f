/**
 * What else turns the checkpoints of convert-cases.ts into dense ones. `bun test/bench/peers/setup.ts` installs them all;
 * what is not there is left out, with a word.
 */
import { existsSync, rmSync } from "node:fs"
import { join } from "node:path"
import { ENVIRONMENT, missingModules } from "../reference/python.ts"
import type { ConvertCase } from "./convert-cases.ts"
import { AMN } from "./peers/setup.ts"
import { type ProcessRun, runProcess } from "./process-run.ts"

/** A way to run a peer, or why there is none. */
export interface ConvertPeer {
  readonly name: string
  readonly left: string | undefined
  /** Converts once; its output is gone afterwards. */
  readonly run: (source: string, output: string) => Promise<ProcessRun>
}

interface Script {
  readonly name: string
  readonly script: string
  readonly options?: readonly string[]
  readonly modules: readonly string[]
}

const TORCH = { name: "torch script", script: "torch_convert.py", modules: ["torch", "safetensors"] } as const

const SCRIPTS: Readonly<Record<ConvertCase, readonly Script[]>> = {
  original: [{ ...TORCH, options: ["gpt-oss"] }],
  hf: [{ name: "transformers", script: "transformers_convert.py", modules: ["torch", "transformers"] }],
  fp8: [
    { ...TORCH, options: ["fp8"] },
    { name: "compressed-tensors", script: "compressed_tensors_convert.py", modules: ["torch", "compressed_tensors"] },
  ],
  gptq: [{ name: "GPTQModel", script: "gptqmodel_convert.py", modules: ["torch", "gptqmodel"] }],
  gguf: [
    { name: "gguf-py", script: "gguf_convert.py", options: ["gguf-py"], modules: ["gguf", "ml_dtypes", "safetensors"] },
    { name: "ggml", script: "gguf_convert.py", options: ["ggml"], modules: ["gguf", "llama_cpp", "ml_dtypes"] },
  ],
}

/** anamnesis reads one file; of these formats it knows all but MXFP4 in safetensors. */
const AMN_CASES: readonly ConvertCase[] = ["fp8", "gptq", "gguf"]

const SETUP = "bun test/bench/peers/setup.ts"

export function convertPeers(name: ConvertCase): ConvertPeer[] {
  const peers = SCRIPTS[name].map(scriptPeer)
  return AMN_CASES.includes(name) ? [...peers, amnPeer()] : peers
}

function scriptPeer({ name, script, options = [], modules }: Script): ConvertPeer {
  const python = process.env.DEQUANTIZER_PYTHON ?? join(ENVIRONMENT, "bin", "python")
  const missing = missingModules(python, modules)
  const left = missing?.length === 0 ? undefined : `${missing?.join(", ") ?? "its Python"} is not installed: ${SETUP}`
  const path = join(import.meta.dir, "peers", script)
  return {
    name,
    left,
    run: async (source, output) => {
      const run = await runProcess(python, path, ...options, source, output)
      rmSync(output, { recursive: true })
      // The last line: libraries say things as well.
      const { seconds } = JSON.parse(run.output.trimEnd().split("\n").at(-1)!) as { seconds: number }
      return { ...run, seconds }
    },
  }
}

function amnPeer(): ConvertPeer {
  const program = process.env.DEQUANTIZER_AMN ?? AMN
  return {
    name: "anamnesis",
    left: existsSync(program) ? undefined : `amn is not installed: ${SETUP}`,
    run: async (source, output) => {
      const file = source.endsWith(".gguf") ? source : join(source, "model.safetensors")
      const run = await runProcess(program, "remember", file, "-o", `${output}.safetensors`)
      rmSync(`${output}.safetensors`)
      return run
    },
  }
}
