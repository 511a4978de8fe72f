/**
 * Products with the weights of every format's fixture, against the f64 product of the weights that the scalar decoder
 * gives. Every codec that has products must turn up.
 */
import { expect, test } from "bun:test"
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { loadMatrix, openCheckpoint, UnsupportedError } from "../../src/index.ts"
import { measureAccuracy } from "../../src/matrix/measure.ts"
import { randomActivations } from "../../src/matrix/vector.ts"
import { takeInventory } from "../../src/schemes/index.ts"

const FORMATS = join(import.meta.dir, "..", "fixtures", "formats")

/** Codecs of the fixtures that have products. */
const WITH_PRODUCTS = [
  "awq",
  "awq_gemv",
  "fp4_bnb",
  "fp8_e4m3",
  "gptq",
  "int8",
  "iq4_nl",
  "iq4_xs",
  "mlx_affine",
  "mxfp4",
  "mxfp4_ggml",
  "nf4",
  "nvfp4",
  "pack_quantized",
  "q2_k",
  "q3_k",
  "q4_0",
  "q4_1",
  "q4_k",
  "q5_0",
  "q5_1",
  "q5_k",
  "q6_k",
  "q8_0",
]

function checkpoints(): string[] {
  const folders = readdirSync(FORMATS, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  // Those of GGUF are one file; of the others the expected tensors stand beside the checkpoint.
  return folders
    .flatMap(({ name }) => [join(name, "model.gguf"), join(name, "checkpoint")])
    .filter((path) => existsSync(join(FORMATS, path)))
    .sort()
}

const met = new Map<string, number>()

for (const path of checkpoints()) {
  test(path, async () => {
    const checkpoint = await openCheckpoint(join(FORMATS, path))
    const { weights } = takeInventory(checkpoint, { layout: "raw" })
    const seen = new Set<string>()
    for (const weight of weights) {
      // One weight of each kind is enough.
      const kind = `${weight.scheme} ${weight.codec} ${weight.parameters.join()}`
      if (seen.has(kind)) continue
      seen.add(kind)
      try {
        using matrix = await loadMatrix(checkpoint, weight.name, { threads: 2 })
        const x = randomActivations(matrix.facts.columns, 7)
        for (const arithmetic of ["float", "int8"] as const) {
          if (arithmetic === "int8" && !matrix.facts.hasInt8) continue
          const { relativeError, bound } = await measureAccuracy(matrix, x, { arithmetic })
          expect(relativeError, `${weight.name} (${kind}) ${arithmetic}`).toBeLessThanOrEqual(bound)
        }
        met.set(weight.codec, (met.get(weight.codec) ?? 0) + 1)
      } catch (error) {
        if (!(error instanceof UnsupportedError)) throw error
        expect(error.message).toMatch(/of this kind have no products|rows in another order/)
      }
    }
  })
}

test("each codec with products was met", () => {
  expect([...met.keys()].sort()).toEqual(WITH_PRODUCTS)
})
