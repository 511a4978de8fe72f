/** The golden vectors themselves: complete, consistent, and the bytes that their makers hashed. */
import { expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { Codec } from "../../src/native/abi.gen.ts"
import { readVectors } from "./vectors.ts"

const vectors = await readVectors()

test("every codec that computes has a vector", () => {
  const wanted = Object.keys(Codec).filter((name) => name !== "copy")
  expect(wanted.filter((codec) => !vectors.some((vector) => vector.codec === codec))).toEqual([])
})

for (const vector of vectors) {
  test(`${vector.name}: sizes fit and the bytes are those that were hashed`, () => {
    const count = vector.rows * vector.columns
    const widths = { bf16: 2, f16: 2, f32: 4 }
    for (const [dtype, width] of Object.entries(widths)) {
      expect(vector.expect[dtype as keyof typeof widths].length).toBe(count * width)
    }
    for (const source of vector.sources) {
      const lines = source.rows_per_line === 0 ? 1 : Math.ceil(vector.rows / source.rows_per_line)
      expect(source.bytes.length).toBe(source.line_bytes * lines)
      if (source.unit_columns === 0) continue
      expect(source.line_bytes).toBe(Math.ceil(vector.columns / source.unit_columns) * source.unit_bytes)
    }
    const hash = createHash("sha256")
    for (const source of vector.sources) hash.update(source.bytes)
    for (const dtype of ["bf16", "f16", "f32"] as const) hash.update(vector.expect[dtype])
    expect(hash.digest("hex")).toBe(vector.sha256)
  })
}
