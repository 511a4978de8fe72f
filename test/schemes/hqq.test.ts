/** HQQ layers whose describing tensors contradict the codes: what they say is read from their bytes. */
import { expect, test } from "bun:test"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { MalformedError } from "../../src/errors.ts"
import { takeInventory } from "../../src/schemes/index.ts"
import { type TensorInput, temporaryFolder, writeSafetensors } from "../support/checkpoints.ts"

const values = (name: string, dtype: string, shape: readonly number[], bytes: number): TensorInput => ({
  name: `m.${name}`,
  dtype,
  shape,
  bytes: new Uint8Array(bytes),
})

function whole(name: string, value: number): TensorInput {
  return { name: `m.${name}`, dtype: "I32", shape: [], bytes: new Uint8Array(Int32Array.of(value).buffer) }
}

function shape(...sizes: readonly number[]): TensorInput {
  const bytes = new Uint8Array(BigInt64Array.from(sizes.map(BigInt)).buffer)
  return { name: "m.shape", dtype: "I64", shape: [sizes.length], bytes }
}

/** 4 bits, [16, 64] in groups of 32. */
const LAYER: Readonly<Record<string, TensorInput>> = {
  codes: values("W_q", "U8", [16, 32], 512),
  scale: values("scale", "F16", [32, 1], 64),
  zero: values("zero", "F16", [32, 1], 64),
  shape: shape(16, 64),
  nbits: whole("nbits", 4),
  axis: whole("axis", 1),
}

async function inventoryOf(changes: Readonly<Record<string, TensorInput>>) {
  using folder = temporaryFolder()
  writeSafetensors(folder.file("model.safetensors"), Object.values({ ...LAYER, ...changes }))
  return takeInventory(await openCheckpoint(folder.file("model.safetensors")))
}

test("a layer is a weight of its shape, and what describes it is dropped", async () => {
  const { weights, dropped, plain } = await inventoryOf({})
  expect(weights.map(({ name, batch, rows, columns, shape: dense }) => [name, batch, rows, columns, dense])).toEqual([
    ["m.weight", 2, 8, 64, [16, 64]],
  ])
  expect(dropped.map(({ name }) => name).sort()).toEqual(["m.axis", "m.nbits", "m.shape"])
  expect(plain).toEqual([])
})

test.each([
  ["a shape of more values", { shape: shape(16, 128) }, /HQQ codes have the wrong shape \(expected 1024 bytes/],
  ["a shape of a negative size", { shape: shape(-16, -64) }, /"m.shape": is no shape of a matrix/],
  ["a shape that is beyond numbers", { shape: shape(2 ** 52, 2 ** 52) }, /is no shape of a matrix|wrong shape/],
  ["three dimensions", { shape: shape(4, 4, 64) }, /"m.shape": has the wrong shape/],
  ["an axis of three", { axis: whole("axis", 2) }, /"m.axis": is no axis of a matrix \(expected 0 or 1, found 2\)/],
  ["the other axis", { axis: whole("axis", 0) }, /HQQ scales have the wrong shape \(expected \[1, 32\]/],
  ["other zeros", { zero: values("zero", "F16", [16, 1], 32) }, /HQQ zeros have the wrong shape/],
  ["zeros of another dtype", { zero: values("zero", "BF16", [32, 1], 64) }, /HQQ zeros have the wrong dtype/],
  ["a width that the bytes do not have", { nbits: whole("nbits", 8) }, /HQQ codes have the wrong shape/],
] as const)("%s is a fault of the file", async (_, changes, says) => {
  const fault = await inventoryOf(changes).then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(fault).toBeInstanceOf(MalformedError)
  expect(String(fault)).toMatch(says)
})
