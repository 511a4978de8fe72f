/**
 * Checkpoints that conversions are timed on: layers with the shapes of published models and made-up weights.
 *
 *     bun test/bench/convert-cases.ts <case> <folder> [layers] [scale]
 *
 * `scale` divides the numbers of experts, rows and columns, for tests of the bench. A process of its own writes them: a child's
 * peak of memory starts from what its parent holds.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { writeGptOss } from "../fixtures/gpt-oss.ts"
import { GPT_OSS_20B, type GptOssSize } from "../fixtures/gpt-oss-tensors.ts"
import { madeUpBytes } from "../fixtures/made-up-bytes.ts"
import { type TensorEntry, writeSafetensors } from "../fixtures/safetensors-file.ts"
import { ggufBytes, stringEntry, u32Entry } from "../support/gguf-file.ts"

/** Names and columns of README's table, and the layers that are timed: 0.5 to 1 GB each. */
export const CONVERT_CASES = {
  original: { title: "MXFP4, gpt-oss `original/`", layers: 1 },
  hf: { title: "MXFP4, gpt-oss of Hugging Face (transposed)", layers: 1 },
  fp8: { title: "FP8 blocks of 128 × 128", layers: 5 },
  gptq: { title: "GPTQ, 4 bits, groups of 128", layers: 5 },
  gguf: { title: "GGUF, Q4_K", layers: 5 },
} as const satisfies Record<string, { readonly title: string; readonly layers: number }>

export type ConvertCase = keyof typeof CONVERT_CASES

export const CONVERT_CASE_NAMES = Object.keys(CONVERT_CASES) as readonly ConvertCase[]

/** Where a case is converted. */
export const CONVERT_PLACES = ["tmpfs", "disk"] as const

export type ConvertPlace = (typeof CONVERT_PLACES)[number]

/** About how many values a case has. */
export function valuesOf(name: ConvertCase, layers: number, scale: number): number {
  if (name !== "original" && name !== "hf")
    return layers * layerShapes(scale).reduce((sum, [, rows, columns]) => sum + rows * columns, 0)
  const { experts, hidden, intermediate, headDim, heads, kvHeads } = gptOssSize(layers, scale)
  return layers * (experts * 3 * hidden * intermediate + 2 * hidden * headDim * (heads + kvHeads))
}

function gptOssSize(layers: number, scale: number): GptOssSize {
  const { experts, hidden, intermediate, heads, kvHeads } = GPT_OSS_20B
  const fewer = (number: number, unit: number) => Math.ceil(number / scale / unit) * unit
  return {
    ...GPT_OSS_20B,
    layers,
    experts: fewer(experts, 1),
    hidden: fewer(hidden, 32),
    intermediate: fewer(intermediate, 32),
    heads: fewer(heads, 1),
    kvHeads: fewer(kvHeads, 1),
  }
}

/** Rows and columns of the weights of a layer: those of Qwen3-8B and Llama 3 8B but for attention's smaller ones. */
function layerShapes(scale: number): [string, number, number][] {
  const [hidden, inner] = [4096 / scale, 12_288 / scale]
  return [
    ["self_attn.q_proj", hidden, hidden],
    ["mlp.gate_proj", inner, hidden],
    ["mlp.up_proj", inner, hidden],
    ["mlp.down_proj", hidden, inner],
  ]
}

interface Part extends TensorEntry {
  readonly bytes: () => Iterable<Uint8Array>
}

function part(name: string, dtype: string, shape: readonly number[], itemSize: number, mend: Mend): Part {
  const size = shape.reduce((product, extent) => product * extent, itemSize)
  return { name, dtype, shape, size, bytes: () => mended(name, size, mend) }
}

/** Makes random bytes ones that may occur. */
type Mend = (bytes: Uint8Array) => void

function* mended(name: string, size: number, mend: Mend): Iterable<Uint8Array> {
  for (const chunk of madeUpBytes(1, name, "codes", size)) {
    mend(chunk)
    yield chunk
  }
}

const asIs: Mend = () => {}

/** No code of NaN: 0x7f and 0xff. */
const fp8Codes: Mend = (bytes) => {
  for (let i = 0; i < bytes.length; i++) if ((bytes[i]! & 0x7f) === 0x7f) bytes[i] = 0
}

/** Positive numbers between 2^-8 and 2^-6 in the last two bytes of 4. */
const f32Scales: Mend = (bytes) => {
  for (let i = 0; i + 3 < bytes.length; i += 4) {
    bytes[i + 2] = bytes[i + 2]! | 0x80
    bytes[i + 3] = 0x3b
  }
}

/** Positive numbers between 2^-7 and 2^-6. */
const f16Scales: Mend = (bytes) => {
  for (let i = 1; i < bytes.length; i += 2) bytes[i] = (bytes[i]! & 0x03) | 0x20
}

/** Zero points 8: stored as 7 (AutoGPTQ). */
const zeroPoints: Mend = (bytes) => void bytes.fill(0x77)

function fp8Layer(layer: number, scale: number): Part[] {
  return layerShapes(scale).flatMap(([short, rows, columns]) => {
    const name = `model.layers.${layer}.${short}.weight`
    const blocks = [Math.ceil(rows / 128), Math.ceil(columns / 128)]
    return [part(name, "F8_E4M3", [rows, columns], 1, fp8Codes), part(`${name}_scale_inv`, "F32", blocks, 4, f32Scales)]
  })
}

const FP8_CONFIG = {
  quant_method: "fp8",
  fmt: "e4m3",
  weight_block_size: [128, 128],
  activation_scheme: "dynamic",
} as const

const GROUP = 128

function gptqLayer(layer: number, scale: number): Part[] {
  return layerShapes(scale).flatMap(([short, out, inputs]) => {
    const name = `model.layers.${layer}.${short}`
    const groups = Math.ceil(inputs / GROUP)
    return [
      part(`${name}.qweight`, "I32", [inputs / 8, out], 4, asIs),
      part(`${name}.qzeros`, "I32", [groups, out / 8], 4, zeroPoints),
      part(`${name}.scales`, "F16", [groups, out], 2, f16Scales),
      groupIndex(`${name}.g_idx`, inputs),
    ]
  })
}

function groupIndex(name: string, inputs: number): Part {
  const groups = Int32Array.from({ length: inputs }, (_, i) => Math.floor(i / GROUP))
  return { name, dtype: "I32", shape: [inputs], size: inputs * 4, bytes: () => [new Uint8Array(groups.buffer)] }
}

const GPTQ_CONFIG = {
  quant_method: "gptq",
  bits: 4,
  group_size: GROUP,
  desc_act: false,
  sym: true,
  checkpoint_format: "gptq",
} as const

/** GGML_TYPE_Q4_K: blocks of 256 values in 144 bytes, which begin with two scales in f16. */
const Q4_K = 12
const q4kBlocks: Mend = (bytes) => {
  for (let i = 0; i < bytes.length; i += 144) {
    bytes[i + 1] = (bytes[i + 1]! & 0x03) | 0x10
    bytes[i + 3] = (bytes[i + 3]! & 0x03) | 0x10
  }
}

const GGUF_NAMES: Readonly<Record<string, string>> = {
  "self_attn.q_proj": "attn_q",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
}

function ggufFile(layers: number, scale: number): Uint8Array {
  const tensors = Array.from({ length: layers }, (_, layer) =>
    layerShapes(scale).map(([short, rows, columns]) => {
      const name = `blk.${layer}.${GGUF_NAMES[short]}.weight`
      const bytes = Buffer.concat([...madeUpBytes(1, name, "codes", (rows * columns * 144) / 256)])
      q4kBlocks(bytes)
      return { name, type: Q4_K, dimensions: [columns, rows], bytes }
    }),
  ).flat()
  const entries = [
    stringEntry("general.architecture", "llama"),
    u32Entry("llama.block_count", layers),
    u32Entry("llama.attention.head_count", 32 / scale),
    u32Entry("llama.attention.head_count_kv", 32 / scale),
  ]
  return ggufBytes({ entries, tensors })
}

/** Writes the checkpoint of a case into a new folder. */
export function writeConvertCase(name: ConvertCase, folder: string, layers: number, scale: number): void {
  mkdirSync(folder, { recursive: true })
  if (name === "original" || name === "hf") {
    writeGptOss({ folder, naming: name, size: gptOssSize(layers, scale) })
    return
  }
  if (name === "gguf") {
    writeFileSync(join(folder, "model.gguf"), ggufFile(layers, scale))
    return
  }
  const layer = name === "fp8" ? fp8Layer : gptqLayer
  const tensors = Array.from({ length: layers }, (_, index) => layer(index, scale)).flat()
  writeSafetensors(join(folder, "model.safetensors"), tensors, (tensor) => tensor.bytes(), { format: "pt" })
  const config = {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    torch_dtype: "bfloat16",
    num_hidden_layers: layers,
    quantization_config: name === "fp8" ? FP8_CONFIG : GPTQ_CONFIG,
  }
  writeFileSync(join(folder, "config.json"), JSON.stringify(config))
}

function main(): void {
  const [name, folder, layers, scale = "1"] = process.argv.slice(2)
  const known = CONVERT_CASE_NAMES.find((one) => one === name)
  if (known === undefined || folder === undefined) throw new Error("usage: convert-cases.ts <case> <folder> [layers]")
  writeConvertCase(known, folder, Number(layers ?? CONVERT_CASES[known].layers), Number(scale))
}

if (import.meta.main) main()
