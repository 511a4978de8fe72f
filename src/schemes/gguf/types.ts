/**
 * Tensors of GGUF files in ggml's block types, one scheme for each type. The type is part of the file, so that nothing
 * has to be found out; the values of a row follow each other in blocks with their scales. Names and order of rows are
 * llama.cpp's here; arrange.ts gives them the form that transformers loads.
 *
 * NVFP4 tensors may have a scale of the whole tensor beside them, `P.scale` F32 [1] or [experts] for `P.weight`, which
 * llama.cpp multiplies results with.
 */
import type { StoredTensor } from "../../containers/container.ts"
import { elementCount } from "../../containers/dtype.ts"
import { GGML_BLOCKS, GGML_TYPES, type GgmlType } from "../../containers/ggml-type.ts"
import { quote, tensorFault, tensorLine } from "../../containers/quote.ts"
import { shapeText } from "../../containers/safetensors.ts"
import { UnsupportedError } from "../../errors.ts"
import type { CodecName } from "../../native/abi.gen.ts"
import type { MatchContext, Scheme, Weight, WeightSource } from "../scheme.ts"

type LowerCase<T> = T extends string ? Lowercase<T> : never

/** ggml's own order of nibbles has a codec of its own; all others are called as their type. */
const CODECS: Readonly<Record<"MXFP4" | "NVFP4", CodecName>> = { MXFP4: "mxfp4_ggml", NVFP4: "nvfp4_ggml" }

function codecOf(type: GgmlType): CodecName {
  if (type === "MXFP4" || type === "NVFP4") return CODECS[type]
  return type.toLowerCase() as LowerCase<Exclude<GgmlType, "MXFP4" | "NVFP4">>
}

export const ggufSchemes: readonly Scheme[] = GGML_TYPES.map(schemeOf)

function schemeOf(type: GgmlType): Scheme {
  const { columns, bytes } = GGML_BLOCKS[type]
  return {
    name: `gguf-${type.toLowerCase()}`,
    row: {
      title: `GGUF ${type}`,
      declaredAs: "the file",
      stored: `blocks of ${columns} columns in ${bytes} bytes`,
      codec: codecOf(type),
      bitsPerWeight: String(Number(((bytes * 8) / columns).toFixed(4))),
      reference: "ggml-org/ggml",
    },
    declared: ({ gguf }) => gguf !== undefined,
    match: (tensor, context) => (tensor.dtype === type ? ggufWeight(tensor, type, context) : undefined),
  }
}

function ggufWeight(tensor: StoredTensor, type: GgmlType, context: MatchContext): Weight {
  const scale = tensorScale(tensor, context)
  const weight = blockWeight(tensor, type)
  return scale === undefined ? weight : { ...weight, sources: [...weight.sources, scale], parameters: [1] }
}

/** A tensor of a block type as a weight: the last dimension is the columns, those before the last two are the batch. */
export function blockWeight(tensor: StoredTensor, type: GgmlType): Weight {
  const { name, shape } = tensor
  const block = GGML_BLOCKS[type]
  const columns = shape.at(-1) ?? 1
  const rows = shape.at(-2) ?? 1
  const lineBytes = (columns / block.columns) * block.bytes
  const batch = elementCount(shape.slice(0, -2))
  if (batch === undefined) throw new Error(`${name}: shape is not checked`)
  const source: WeightSource = {
    role: "blocks",
    tensor,
    rowsPerLine: 1,
    lineBytes,
    batchBytes: rows * lineBytes,
    unitColumns: block.columns,
    unitBytes: block.bytes,
  }
  return {
    name,
    scheme: `gguf-${type.toLowerCase()}`,
    codec: codecOf(type),
    sources: [source],
    batch,
    rows,
    columns,
    rowAlign: 1,
    columnAlign: block.columns,
    parameters: [],
    shape,
    orientation: "as-stored",
  }
}

function tensorScale(tensor: StoredTensor, context: MatchContext): WeightSource | undefined {
  if (!tensor.name.endsWith(".weight")) return undefined
  const scale = context.tensor(`${tensor.name.slice(0, -".weight".length)}.scale`)
  if (scale === undefined) return undefined
  if (tensor.dtype !== "NVFP4") {
    const what = `has a scale of its own (${quote(scale.name)}), which is supported for NVFP4 only`
    throw new UnsupportedError(tensorLine(tensor.file.path, tensor.name, what))
  }
  const batch = elementCount(tensor.shape.slice(0, -2)) ?? 1
  const count = elementCount(scale.shape)
  if (scale.dtype !== "F32" || (count !== 1 && count !== batch)) {
    throw tensorFault(scale.file.path, scale.name, "scale has the wrong form", {
      expected: `F32 with 1 or ${batch} values`,
      found: `${scale.dtype} ${shapeText(scale.shape)}`,
    })
  }
  const each = { rowsPerLine: 0, lineBytes: 4, batchBytes: count === 1 ? 0 : 4, unitColumns: 0, unitBytes: 0 }
  return { role: "tensor scale", tensor: scale, ...each }
}
