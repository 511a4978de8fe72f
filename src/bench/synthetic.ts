/**
 * Made-up checkpoints for measuring: weights of the shapes of gpt-oss-20b in the forms that most models come in, with
 * random codes and ordinary scales.
 */
import { mkdir, open, writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { SafetensorsDtype } from "../containers/dtype.ts"
import { ioFault } from "../containers/file.ts"
import { encodeHeader } from "../containers/safetensors.ts"
import { throwIfCancelled } from "./row.ts"

/** The forms of made-up weights. */
export const FORMS = ["mxfp4", "fp8_e4m3", "bf16", "f16", "f32"] as const
export type Form = (typeof FORMS)[number]

export interface SyntheticWeight {
  readonly form: Form
  readonly experts: number
  readonly rows: number
  readonly columns: number
  /** MXFP4 under the names of the Hub, which are dense [in, out] for transformers. */
  readonly transposed?: boolean
}

interface Part {
  readonly name: string
  readonly dtype: SafetensorsDtype
  readonly shape: readonly number[]
  readonly bytes: (pattern: Uint8Array) => Uint8Array
  readonly size: number
}

/** Bytes that repeat within a tensor. */
const PATTERN_BYTES = 1 << 20

/** FP8 codes that are no numbers become ordinary ones. */
const fp8Codes = (pattern: Uint8Array) => pattern.map((byte) => ((byte & 0x7f) === 0x7f ? 0x38 : byte))
/** E8M0 from 2^-15 to 1. */
const e8m0Scales = (pattern: Uint8Array) => pattern.map((byte) => 112 + (byte & 15))
const f32Scales = () => new Uint8Array(new Float32Array(PATTERN_BYTES / 4).fill(0.01).buffer)
/** Elements of `width` bytes whose exponents are those of small numbers. */
const smallNumbers = (width: number, high: number) => (pattern: Uint8Array) =>
  pattern.map((byte, i) => (i % width === width - 1 ? (byte & 0x80) | high : byte))

const FP8_BLOCK = 128

/** Name of the dense weight. */
export function weightName({ form, transposed }: SyntheticWeight): string {
  if (form !== "mxfp4") return "model.layers.0.self_attn.q_proj.weight"
  return transposed ? "model.layers.0.mlp.experts.gate_up_proj" : "block.0.mlp.mlp1_weight"
}

function partsOf(weight: SyntheticWeight): Part[] {
  const { form, experts, rows, columns, transposed } = weight
  const name = weightName(weight)
  const part = (
    suffix: string,
    dtype: SafetensorsDtype,
    width: number,
    shape: number[],
    bytes: Part["bytes"],
  ): Part => ({
    name: `${name}${suffix}`,
    dtype,
    shape,
    bytes,
    size: shape.reduce((product, extent) => product * extent, width),
  })
  switch (form) {
    case "mxfp4": {
      const separator = transposed ? "_" : "."
      const blocks = Math.ceil(columns / 32)
      return [
        part(`${separator}blocks`, "U8", 1, [experts, rows, blocks, 16], (pattern) => pattern),
        part(`${separator}scales`, "U8", 1, [experts, rows, blocks], e8m0Scales),
      ]
    }
    case "fp8_e4m3": {
      const grid = [Math.ceil((experts * rows) / FP8_BLOCK), Math.ceil(columns / FP8_BLOCK)]
      return [
        part("", "F8_E4M3", 1, [experts * rows, columns], fp8Codes),
        part("_scale_inv", "F32", 4, grid, f32Scales),
      ]
    }
    case "bf16":
      return [part("", "BF16", 2, [experts * rows, columns], smallNumbers(2, 0x3c))]
    case "f16":
      return [part("", "F16", 2, [experts * rows, columns], smallNumbers(2, 0x24))]
    case "f32":
      return [part("", "F32", 4, [experts * rows, columns], smallNumbers(4, 0x3c))]
  }
}

/** Bytes of the tensors of a weight. */
export function storedSize(weight: SyntheticWeight): number {
  return partsOf(weight).reduce((sum, { size }) => sum + size, 0)
}

function configOf({ form, transposed }: SyntheticWeight): object {
  if (form === "fp8_e4m3") {
    const block = { quant_method: "fp8", fmt: "e4m3", weight_block_size: [FP8_BLOCK, FP8_BLOCK] }
    return { model_type: "deepseek_v3", quantization_config: block }
  }
  return transposed ? { model_type: "gpt_oss", quantization_config: { quant_method: "mxfp4" } } : {}
}

/** Writes a folder with one weight and its config. Throws IoError, and CancelledError once the signal has fired. */
export async function writeSynthetic(folder: string, weight: SyntheticWeight, signal?: AbortSignal): Promise<void> {
  const parts = partsOf(weight)
  const path = join(folder, "model.safetensors")
  try {
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, "config.json"), JSON.stringify(configOf(weight)))
    await using file = await open(path, "wx")
    await file.write(encodeHeader(parts, new Map(), path))
    const noise = randomPattern()
    for (const { bytes, size } of parts) {
      const pattern = bytes(noise)
      for (let done = 0; done < size; done += pattern.length) {
        throwIfCancelled(signal)
        await file.write(pattern.subarray(0, Math.min(pattern.length, size - done)))
      }
    }
  } catch (error) {
    throw ioFault(path, error)
  }
}

/** The same bytes in each run: xorshift32. */
function randomPattern(): Uint8Array {
  const words = new Uint32Array(PATTERN_BYTES / 4)
  let state = 0x9e3779b9
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    words[i] = state
  }
  return new Uint8Array(words.buffer)
}
