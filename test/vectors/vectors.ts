/** Reads the golden vectors of this folder; vector.py says what one is. */
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import type { CodecName } from "../../src/native/abi.gen.ts"

export interface Vector {
  /** File name without `.json`. */
  readonly name: string
  readonly codec: CodecName
  readonly rows: number
  readonly columns: number
  readonly parameters: readonly number[]
  readonly sources: readonly VectorSource[]
  /** Dense elements, rows × columns, as bytes. */
  readonly expect: Readonly<Record<"bf16" | "f16" | "f32", Uint8Array>>
  /** [experts, rows, groups, 16] where the bytes are those of gpt-oss experts. */
  readonly blocksShape: readonly number[] | undefined
  /** Of all source bytes and then all expected bytes, in their order. */
  readonly sha256: string
}

/** Field names are those of `Source` in kernels/abi.zig. */
export interface VectorSource {
  readonly role: string
  readonly rows_per_line: number
  readonly line_bytes: number
  readonly unit_columns: number
  readonly unit_bytes: number
  readonly bytes: Uint8Array
}

export async function readVector(name: string): Promise<Vector> {
  const stored = await Bun.file(join(import.meta.dir, `${name}.json`)).json()
  const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, "hex"))
  const sources = stored.sources.map(({ hex, ...source }: { hex: string }) => ({ ...source, bytes: bytes(hex) }))
  const expect = { bf16: bytes(stored.expect.bf16), f16: bytes(stored.expect.f16), f32: bytes(stored.expect.f32) }
  const { codec, rows, columns, parameters, blocks_shape, provenance } = stored
  const more = { blocksShape: blocks_shape, sha256: provenance.sha256 }
  return { name, codec, rows, columns, parameters, sources, expect, ...more }
}

/** All of them, by name. */
export async function readVectors(): Promise<Vector[]> {
  const names = (await readdir(import.meta.dir)).filter((name) => name.endsWith(".json")).sort()
  return await Promise.all(names.map((name) => readVector(name.slice(0, -".json".length))))
}
