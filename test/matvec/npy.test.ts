import { describe, expect, test } from "bun:test"
import { formatNpy, parseNpy } from "../../src/matrix/npy.ts"

/** A .npy file by the text of its header, as numpy.lib.format describes it. */
function npy(header: string, data: ArrayBuffer, version = 1): Uint8Array {
  const text = `${header}\n`
  const length = version === 1 ? [text.length & 255, text.length >> 8] : [text.length & 255, text.length >> 8, 0, 0]
  return Buffer.concat([
    Uint8Array.from([0x93, ...Buffer.from("NUMPY"), version, 0, ...length]),
    Buffer.from(text),
    new Uint8Array(data),
  ])
}

const F4 = Float32Array.of(1.5, -2, 3.25e-40)

describe("parseNpy", () => {
  test("what formatNpy wrote, its data at a multiple of 64", () => {
    for (const shape of [[3], [1, 3], [3, 1, 1]]) {
      const bytes = formatNpy({ shape, values: F4 })
      expect((bytes.byteLength - F4.byteLength) % 64).toBe(0)
      expect(parseNpy("x", bytes)).toEqual({ shape, values: F4 })
    }
  })

  test("dtypes and versions", () => {
    const header = (descr: string) => `{'descr': '${descr}', 'fortran_order': False, 'shape': (3,), }`
    const wide = Float64Array.from(F4)
    const half = new DataView(new ArrayBuffer(6))
    for (const [i, value] of [1.5, -2, 65504].entries()) half.setFloat16(2 * i, value, true)
    for (const version of [1, 2, 3]) {
      expect(parseNpy("x", npy(header("<f4"), F4.buffer, version)).values).toEqual(F4)
      expect(parseNpy("x", npy(header("<f8"), wide.buffer, version)).values).toEqual(F4)
      expect(parseNpy("x", npy(header("<f2"), half.buffer, version)).values).toEqual(Float32Array.of(1.5, -2, 65504))
    }
  })

  test("Fortran order of one dimension is no other order", () => {
    const bytes = npy("{'descr': '<f4', 'fortran_order': True, 'shape': (3,), }", F4.buffer)
    expect(parseNpy("x", bytes).values).toEqual(F4)
  })

  const good = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", F4.buffer)
  const faults: readonly (readonly [string, Uint8Array, string])[] = [
    ["nothing", new Uint8Array(0), "x: is no .npy file"],
    ["another magic", Buffer.from("\x93NUMPZ\x01\0    "), "x: is no .npy file"],
    ["version 4", Uint8Array.from(good, (byte, i) => (i === 6 ? 4 : byte)), "version 1 to 3"],
    ["cut in the magic", good.subarray(0, 8), "version 1 to 3"],
    ["cut in the header", good.subarray(0, 30), "its header does not end"],
    ["cut in the data", good.subarray(0, -1), "its size does not fit its shape"],
    ["too much data", Buffer.concat([good, Uint8Array.of(1)]), "its size does not fit its shape"],
    ["no shape", npy("{'descr': '<f4', 'fortran_order': False}", F4.buffer), "its header is broken"],
    ["big endian", npy("{'descr': '>f4', 'fortran_order': False, 'shape': (3,), }", F4.buffer), "found >f4"],
    ["integers", npy("{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }", F4.buffer), "found <i4"],
    ["Fortran order", npy("{'descr': '<f4', 'fortran_order': True, 'shape': (3, 1), }", F4.buffer), "Fortran order"],
    [
      "a shape that overflows",
      npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", F4.buffer),
      "its size does not fit its shape",
    ],
  ]
  test.each(faults)("%s", (_, bytes, message) => {
    expect(() => parseNpy("x", bytes)).toThrow(message)
  })

  test("cut anywhere, it is refused", () => {
    for (let size = 0; size < good.length; size++) expect(() => parseNpy("x", good.subarray(0, size))).toThrow("x: ")
  })
})
