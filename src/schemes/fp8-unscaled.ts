/**
 * FP8 tensors that no other scheme has found scales for: weights that were cast and never scaled, or whose scales are
 * lost. Only the user knows, so `--missing-scale` decides: an error, a scale of 1, or a copy of the bytes. Asked last.
 */
import type { StoredTensor } from "../containers/container.ts"
import { tensorFault } from "../containers/quote.ts"
import { isFp8, scaledWeight } from "./fp8.ts"
import { isPartName } from "./known.ts"
import { type MatchContext, type Scheme, SHARD_HINT, type Weight } from "./scheme.ts"

export const FP8_UNSCALED = "fp8-unscaled"

export const fp8Unscaled: Scheme = {
  name: FP8_UNSCALED,
  row: {
    title: "FP8 without scales",
    declaredAs: "nothing",
    stored: "P F8; --missing-scale one gives each a scale of 1, copy keeps the bytes",
    codec: "fp8_e4m3",
    bitsPerWeight: "8",
    reference: "ml_dtypes",
  },
  isLastResort: true,
  declared: () => false,
  match,
}

function match(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (!isFp8(codes.dtype) || isPartName(codes.name) || context.missingScale === "copy") return undefined
  if (context.missingScale === "one") {
    return scaledWeight({ name: codes.name, scheme: FP8_UNSCALED, codes, scales: undefined })
  }
  const choice = "--missing-scale one takes it for 1, copy keeps the bytes"
  throw tensorFault(codes.file.path, codes.name, "FP8 codes without scales", {
    hint: context.checkpoint.kind === "file" ? `${SHARD_HINT}; ${choice}` : choice,
  })
}
