/**
 * MXFP4 as gpt-oss stores its experts. Two namings of the same bytes:
 *
 *     original   P.blocks  U8 [E, out, G, 16]   P.scales  U8 [E, out, G]   P = block.N.mlp.mlp1_weight
 *     HF         P_blocks  U8 [E, out, G, 16]   P_scales  U8 [E, out, G]   P = model.layers.N.mlp.experts.gate_up_proj
 *
 * The original model keeps [E, out, in] under the name P (gpt_oss/torch/weights.py); transformers loads HF names as
 * [E, in, out] (integrations/mxfp4.py), so that is what their dense tensors are. The prefix and the number of leading
 * dimensions are free.
 */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import type { StoredTensor } from "../containers/container.ts"
import { quote, tensorFault } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { E8M0_DTYPES, MXFP4_GROUP_BYTES, missingScales, mxfp4Weight, requireDtype, requireShape } from "./mxfp4.ts"
import type { MatchContext, Scheme, Weight } from "./scheme.ts"

const NAME = "mxfp4-gpt-oss"

interface Naming {
  readonly codes: string
  readonly scales: string
  readonly orientation: Weight["orientation"]
}

const NAMINGS: readonly Naming[] = [
  { codes: ".blocks", scales: ".scales", orientation: "as-stored" },
  { codes: "_blocks", scales: "_scales", orientation: "transposed" },
]

export const mxfp4GptOss: Scheme = {
  name: NAME,
  row: {
    title: "MXFP4 (gpt-oss)",
    declaredAs: "mxfp4; undeclared in original/",
    stored: "P.blocks or P_blocks U8 [E, out, in/32, 16], P.scales or P_scales U8 [E, out, in/32]",
    codec: "mxfp4",
    bitsPerWeight: "4.25",
    reference: "openai/gpt-oss; transformers",
  },
  declared,
  match,
  orphan,
}

function declared(checkpoint: Checkpoint): boolean {
  return checkpoint.declared?.method === "mxfp4"
}

function match(codes: StoredTensor, context: MatchContext): Weight | undefined {
  const naming = NAMINGS.find((candidate) => codes.name.endsWith(candidate.codes))
  if (naming === undefined) return undefined
  const name = codes.name.slice(0, -naming.codes.length)
  const scales = context.tensor(name + naming.scales)
  if (scales === undefined) {
    // Bytes with such a name and shape are codes; anything else of that name may be an ordinary tensor.
    if (codes.dtype !== "U8" || codes.shape.length < 3 || codes.shape.at(-1) !== MXFP4_GROUP_BYTES) return undefined
    missingScales(codes, name + naming.scales, context)
  }
  if (codes.dtype !== "U8" && !E8M0_DTYPES.includes(scales.dtype)) return undefined
  requireDtype(codes, "MXFP4 codes", ["U8"])
  requireDtype(scales, "MXFP4 scales", E8M0_DTYPES)
  if (codes.shape.length < 3 || codes.shape.at(-1) !== MXFP4_GROUP_BYTES) {
    throw tensorFault(codes.file.path, codes.name, "MXFP4 codes have the wrong shape", {
      expected: `[…, out, in/32, ${MXFP4_GROUP_BYTES}]`,
      found: shapeText(codes.shape),
    })
  }
  const grid = codes.shape.slice(0, -1)
  requireShape(scales, "MXFP4 scales", grid)
  const { orientation } = naming
  return mxfp4Weight({ name, scheme: NAME, orientation, codes, scales, grid, lastScale: "power" })
}

function orphan(tensor: StoredTensor): string | undefined {
  const naming = NAMINGS.find((candidate) => tensor.name.endsWith(candidate.scales))
  if (naming === undefined || !E8M0_DTYPES.includes(tensor.dtype) || tensor.shape.length < 2) return undefined
  const codes = tensor.name.slice(0, -naming.scales.length) + naming.codes
  return `MXFP4 scales without codes (expected tensor ${quote(codes)}, found nothing)`
}
