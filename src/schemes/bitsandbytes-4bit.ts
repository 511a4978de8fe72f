/**
 * Four bits to a value, by bitsandbytes (QLoRA, unsloth's "-bnb-4bit"):
 *
 *     W                                        U8 [ceil(n/2), 1], or another dtype of so many bytes: all values of the
 *                                              weight in their order, two to a byte
 *     W.absmax                                 F32 [blocks], or U8 under a second quantization
 *     W.quant_state.bitsandbytes__nf4|__fp4    U8, JSON: quant_type, blocksize, dtype, shape, nested_…
 *     W.nested_absmax, W.nested_quant_map      F32, where absmax is U8
 *     W.quant_map                              F32 [16]; the library has its own table and does not look at it
 *
 * Source: bitsandbytes 0.50.2, functional.py (QuantState.as_dict, dequantize_4bit).
 */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import type { StoredTensor } from "../containers/container.ts"
import { elementCount } from "../containers/dtype.ts"
import {
  describeJson,
  isJsonArray,
  JsonNumber,
  type JsonObject,
  type JsonValue,
  jsonInteger,
  parseJsonObject,
} from "../containers/json.ts"
import { tensorFault } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { readTensorBytes } from "../containers/tensor-bytes.ts"
import { floatBits } from "./dense.ts"
import { declaresMethod, missingPart } from "./fp8.ts"
import { requireDtype, requireShape } from "./mxfp4.ts"
import type { MatchContext, Scheme, Weight, WeightSource } from "./scheme.ts"

/** The codec of each `quant_type`. */
const CODECS = { nf4: "nf4", fp4: "fp4_bnb" } as const
type QuantType = keyof typeof CODECS

const BLOCK_SIZES = [32, 64, 128, 256, 512, 1024, 2048, 4096]
/** Numbers of kernels/codecs/scaled_row.zig: Rounding. */
const ROUNDINGS = { float32: 0, float16: 1, bfloat16: 2 } as const
/** The JSON is about 200 bytes long. */
const STATE_SIZE_MAX = 1 << 16

export const nf4: Scheme = scheme("nf4", "NF4 (bitsandbytes)")
export const fp4Bitsandbytes: Scheme = scheme("fp4", "FP4 (bitsandbytes)")

function scheme(type: QuantType, title: string): Scheme {
  const name = `${type}-bitsandbytes`
  return {
    name,
    row: {
      title,
      declaredAs: `bitsandbytes, load_in_4bit, ${type}`,
      stored: `W U8 [out in/2, 1], W.absmax F32 or U8 [out in/64], W.quant_state.bitsandbytes__${type} U8`,
      codec: CODECS[type],
      bitsPerWeight: "4.13 to 4.50",
      reference: "bitsandbytes",
    },
    declared: (checkpoint) => {
      if (!declaresMethod(checkpoint, "bitsandbytes")) return false
      const settings = checkpoint.declared?.settings
      return settings?.get("load_in_4bit") === true && (settings.get("bnb_4bit_quant_type") ?? "fp4") === type
    },
    match: (tensor, context) => match(type, name, tensor, context),
  }
}

/** Whether a checkpoint has tensors of this format at all: asked once, not for each of its tensors. */
const present = new WeakMap<Checkpoint, boolean>()

function isPresent(checkpoint: Checkpoint): boolean {
  const known = present.get(checkpoint)
  if (known !== undefined) return known
  const found = [...checkpoint.tensors.keys()].some(
    (name) => name.includes(".quant_state.") || name.endsWith(".absmax"),
  )
  present.set(checkpoint, found)
  return found
}

function match(type: QuantType, name: string, codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (!isPresent(context.checkpoint)) return undefined
  const stateTensor = context.tensor(`${codes.name}.quant_state.bitsandbytes__${type}`)
  if (stateTensor === undefined) {
    const other = type === "nf4" ? "fp4" : "nf4"
    const isOther = context.tensor(`${codes.name}.quant_state.bitsandbytes__${other}`) !== undefined
    if (type === "nf4" && !isOther && context.tensor(`${codes.name}.absmax`) !== undefined) {
      missingPart(codes, "4-bit codes without their state", `${codes.name}.quant_state.bitsandbytes__nf4`, context)
    }
    return undefined
  }
  const state = readState(stateTensor, type)
  const parts = partsOf(codes, context)
  const count = elementCount(state.shape)!
  if (codes.size !== Math.ceil(count / 2)) {
    throw tensorFault(codes.file.path, codes.name, "4-bit codes have the wrong size", {
      expected: `${Math.ceil(count / 2)} bytes for ${shapeText(state.shape)}`,
      found: `${codes.size} bytes`,
    })
  }
  const blocks = Math.ceil(count / state.block)
  requireBlocks(parts.absmax, state, blocks)
  const isNested = parts.absmax.dtype === "U8"
  if (isNested) checkNested(parts, state, blocks, stateTensor, context, codes)
  const sides = [stateTensor, ...parts.sides, ...(isNested ? [] : parts.nested)]
  const columns = state.shape.at(-1)!
  // Rows of whole blocks are rows; else all values are one, since blocks know no rows.
  const matrix = columns % state.block === 0 ? { rows: count / columns, columns } : { rows: 1, columns: count }
  return {
    name: codes.name,
    scheme: name,
    codec: CODECS[type],
    sources: sourcesOf(codes, parts, isNested, state, matrix),
    sides,
    batch: 1,
    ...matrix,
    rowAlign: 1,
    columnAlign: state.block,
    parameters: [state.block, isNested ? state.nestedBlock! : 0, isNested ? state.offset : 0, state.rounding],
    shape: state.shape,
    // [1, n/2]: the library gives the transposed of the shape.
    orientation: codes.shape.length === 2 && codes.shape[0] === 1 && codes.size > 1 ? "transposed" : "as-stored",
  }
}

interface State {
  readonly block: number
  readonly shape: readonly number[]
  readonly rounding: number
  /** Blocks that share a scale of absmax. */
  readonly nestedBlock: number | undefined
  /** Bits of an f32. */
  readonly offset: number
}

function readState(tensor: StoredTensor, type: QuantType): State {
  requireDtype(tensor, "the bytes of a 4-bit state", ["U8"])
  const fault = (what: string, expected: string, value: JsonValue | undefined): never => {
    const found = value === undefined ? "nothing" : describeJson(value)
    throw tensorFault(tensor.file.path, tensor.name, `${what} of the 4-bit state is not possible`, { expected, found })
  }
  const json = parseState(tensor)
  const block = jsonInteger(json.get("blocksize"))
  const dtype = json.get("dtype")
  const shape = json.get("shape")
  if (json.get("quant_type") !== type) fault("quant_type", `"${type}"`, json.get("quant_type"))
  if (block === undefined || !BLOCK_SIZES.includes(block)) {
    return fault("blocksize", BLOCK_SIZES.join(", "), json.get("blocksize"))
  }
  if (typeof dtype !== "string" || !Object.hasOwn(ROUNDINGS, dtype)) {
    return fault("dtype", Object.keys(ROUNDINGS).join(", "), dtype)
  }
  const sizes = isJsonArray(shape) ? shape.map((size) => jsonInteger(size) ?? 0) : []
  const count = elementCount(sizes)
  if (sizes.length === 0 || sizes.some((size) => size <= 0) || count === undefined) {
    return fault("shape", "whole numbers above 0", shape)
  }
  return { block, shape: sizes, rounding: ROUNDINGS[dtype as keyof typeof ROUNDINGS], ...nestedState(json, fault) }
}

function nestedState(
  json: JsonObject,
  fault: (what: string, expected: string, value: JsonValue | undefined) => never,
): Pick<State, "nestedBlock" | "offset"> {
  if (!json.has("nested_blocksize")) return { nestedBlock: undefined, offset: 0 }
  const block = jsonInteger(json.get("nested_blocksize"))
  const offset = json.get("nested_offset")
  const value = offset instanceof JsonNumber ? Number(offset.text) : Number.NaN
  if (block === undefined || block <= 0)
    return fault("nested_blocksize", "a number above 0", json.get("nested_blocksize"))
  if (!Number.isFinite(Math.fround(value))) return fault("nested_offset", "a number", offset)
  if (json.get("nested_dtype") !== "float32") return fault("nested_dtype", '"float32"', json.get("nested_dtype"))
  return { nestedBlock: block, offset: floatBits(value) }
}

function parseState(tensor: StoredTensor): JsonObject {
  const bytes = readTensorBytes(tensor, STATE_SIZE_MAX)
  return parseJsonObject(bytes, `${tensor.file.path}: tensor ${tensor.name}`)
}

interface Parts {
  readonly absmax: StoredTensor
  /** nested_absmax and nested_quant_map, where they are there. */
  readonly nested: readonly StoredTensor[]
  readonly sides: readonly StoredTensor[]
}

function partsOf(codes: StoredTensor, context: MatchContext): Parts {
  const absmax = context.tensor(`${codes.name}.absmax`)
  if (absmax === undefined) missingPart(codes, "4-bit codes without absmax", `${codes.name}.absmax`, context)
  const found = (...names: string[]) =>
    names.flatMap((name) => {
      const tensor = context.tensor(`${codes.name}.${name}`)
      return tensor === undefined ? [] : [tensor]
    })
  return { absmax, nested: found("nested_absmax", "nested_quant_map"), sides: found("quant_map") }
}

function requireBlocks(absmax: StoredTensor, state: State, blocks: number): void {
  requireDtype(absmax, "absmax", ["F32", "U8"])
  if (elementCount(absmax.shape) === blocks) return
  throw tensorFault(absmax.file.path, absmax.name, "absmax has the wrong length", {
    expected: `${blocks} for blocks of ${state.block} in ${shapeText(state.shape)}`,
    found: shapeText(absmax.shape),
  })
}

function checkNested(
  parts: Parts,
  state: State,
  blocks: number,
  stateTensor: StoredTensor,
  context: MatchContext,
  codes: StoredTensor,
): void {
  const names = ["nested_absmax", "nested_quant_map"]
  for (const [i, name] of names.entries()) {
    if (parts.nested[i]?.name !== `${codes.name}.${name}`) {
      missingPart(parts.absmax, "absmax of U8 without what its codes mean", `${codes.name}.${name}`, context)
    }
  }
  if (state.nestedBlock === undefined) {
    throw tensorFault(stateTensor.file.path, stateTensor.name, "says nothing of the U8 absmax", {
      expected: "nested_blocksize, nested_offset, nested_dtype",
      found: "none",
    })
  }
  const [scales, map] = parts.nested
  for (const tensor of parts.nested) requireDtype(tensor, "scales of absmax", ["F32"])
  requireShape(scales!, "scales of absmax", [Math.ceil(blocks / state.nestedBlock)])
  requireShape(map!, "the map of absmax", [256])
}

function sourcesOf(
  codes: StoredTensor,
  parts: Parts,
  isNested: boolean,
  state: State,
  { rows, columns }: { readonly rows: number; readonly columns: number },
): WeightSource[] {
  const lines = (role: string, tensor: StoredTensor, unitColumns: number, unitBytes: number): WeightSource => ({
    role,
    tensor,
    rowsPerLine: 1,
    lineBytes: tensor.size / rows,
    batchBytes: 0,
    unitColumns,
    unitBytes,
  })
  const whole = (role: string, tensor: StoredTensor): WeightSource => ({
    role,
    tensor,
    rowsPerLine: 0,
    lineBytes: tensor.size,
    batchBytes: 0,
    unitColumns: 0,
    unitBytes: 0,
  })
  const [scales, map] = parts.nested
  if (rows > 1 && columns % state.block !== 0) throw new Error("blocks that rows cut")
  return [
    lines("codes", codes, 2, 1),
    lines("absmax", parts.absmax, state.block, isNested ? 1 : 4),
    ...(isNested ? [whole("scales of absmax", scales!), whole("map of absmax", map!)] : []),
  ]
}
