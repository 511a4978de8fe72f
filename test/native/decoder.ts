/**
 * MXFP4 decoded by the formula of the format (OCP Microscaling v1.0; low nibble first), one value at a time and sharing
 * nothing with the program: what the native library's results are compared with.
 */

const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6] as const

/** The value at position `index` of the flat run of codes, whose scales stand 1 to 32 values. */
export function mxfp4Value(codes: Uint8Array, scales: Uint8Array, index: number): number {
  const byte = codes[index >> 1]!
  const code = index % 2 === 0 ? byte & 15 : byte >> 4
  const scale = scales[Math.floor(index / 32)]!
  return E2M1[code]! * 2 ** (scale - 127)
}

/** Bits of `value`, rounded to nearest, ties to even. Exact for every value that f64 holds. */
export function roundTo(dtype: "bf16" | "f16" | "f32", value: number): number {
  const [exponentBits, mantissaBits] = { bf16: [8, 7], f16: [5, 10], f32: [8, 23] }[dtype] as [number, number]
  const bias = 2 ** (exponentBits - 1) - 1
  const sign = Object.is(value, -0) || value < 0 ? 2 ** (exponentBits + mantissaBits) : 0
  const infinity = (2 ** exponentBits - 1) * 2 ** mantissaBits
  if (Number.isNaN(value)) return infinity + 2 ** (mantissaBits - 1)
  const magnitude = Math.abs(value)
  if (magnitude === 0) return sign
  if (magnitude === Number.POSITIVE_INFINITY) return sign + infinity
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), 1 - bias)
  const units = roundHalfEven(magnitude / 2 ** (exponent - mantissaBits))
  // A subnormal has no hidden bit; a carry into it, or out of the mantissa, is the next exponent by itself.
  return sign + Math.min(infinity, (exponent + bias - 1) * 2 ** mantissaBits + units)
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  if (rest > 0.5 || (rest === 0.5 && floor % 2 === 1)) return floor + 1
  return floor
}

/** batch × rows × columns values as the bytes of a dense tensor, transposed within each matrix if wanted. */
export function denseMxfp4(
  file: Uint8Array,
  lead: number,
  extents: { readonly batch: number; readonly rows: number; readonly columns: number },
  dtype: "bf16" | "f16" | "f32",
  transposed: boolean,
): Uint8Array {
  const { batch, rows, columns } = extents
  const count = batch * rows * columns
  const codes = file.subarray(lead, lead + count / 2)
  const scales = file.subarray(lead + count / 2, lead + count / 2 + count / 32)
  const width = dtype === "f32" ? 4 : 2
  const dense = new Uint8Array(count * width)
  const view = new DataView(dense.buffer)
  for (let index = 0; index < count; index++) {
    const matrix = Math.floor(index / (rows * columns))
    const row = Math.floor(index / columns) % rows
    const place = transposed ? matrix * rows * columns + (index % columns) * rows + row : index
    const bits = roundTo(dtype, mxfp4Value(codes, scales, index))
    if (width === 4) view.setUint32(place * 4, bits, true)
    else view.setUint16(place * 2, bits, true)
  }
  return dense
}
