/**
 * What a conversion must give, computed the slow and obvious way: one number at a time, from the definitions of the
 * formats. It shares no code with the program, and no trick with its kernels. NaN is compared as a class.
 */
import { readFileSync } from "node:fs"
import type { TensorInput } from "./checkpoints.ts"

export type Dense = "BF16" | "F16" | "F32"

/** E2M1: a sign, and eight magnitudes. Code 8 is -0. */
const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6]

/**
 * E2M1 times the E8M0 scale 2^(e - 127), in f32. compressed-tensors rounds the scale first: for e = 255 it is infinite.
 */
function product(code: number, exponent: number, roundedScale: boolean): number {
  const scale = 2 ** (exponent - 127)
  return Math.fround(E2M1[code]! * (roundedScale ? Math.fround(scale) : scale))
}

/** Values of codes [.., G, 16] under scales [.., G], in order; the low nibble comes first. */
export function decodeMxfp4(codes: Uint8Array, scales: Uint8Array, roundedScale = false): number[] {
  const values: number[] = []
  for (const [block, exponent] of scales.entries()) {
    for (const byte of codes.subarray(block * 16, block * 16 + 16)) {
      for (const code of [byte % 16, Math.floor(byte / 16)]) values.push(product(code, exponent, roundedScale))
    }
  }
  return values
}

/** [batch, rows, columns] to [batch, columns, rows]. */
export function transpose(values: readonly number[], rows: number, columns: number): number[] {
  const result: number[] = []
  for (let start = 0; start < values.length; start += rows * columns) {
    for (let column = 0; column < columns; column += 1) {
      for (let row = 0; row < rows; row += 1) result.push(values[start + row * columns + column]!)
    }
  }
  return result
}

/** 2^-160 … 2^160. */
const POWERS = Array.from({ length: 321 }, (_, i) => 2 ** (i - 160))
const powerOfTwo = (exponent: number): number => POWERS[exponent + 160]!

/** Bits of exponent and of fraction. */
const FORMATS = { BF16: [8, 7], F16: [5, 10], F32: [8, 23] } as const

/**
 * The bits of a number in a binary format, rounded to nearest, ties to even (IEEE 754-2019, 4.3.1). NaN gives
 * undefined.
 */
export function bitsOf(value: number, dtype: Dense): number | undefined {
  if (Number.isNaN(value)) return undefined
  const [exponentBits, fractionBits] = FORMATS[dtype]
  const bias = 2 ** (exponentBits - 1) - 1
  const sign = Object.is(Math.sign(value), -0) || value < 0 ? 2 ** (exponentBits + fractionBits) : 0
  const magnitude = Math.abs(value)
  // The exponent of a normal number; below the smallest one the spacing stays what it is there.
  let exponent = 1 - bias
  while (exponent < bias && magnitude >= powerOfTwo(exponent + 1)) exponent += 1
  const steps = roundHalfEven(magnitude / 2 ** (exponent - fractionBits))
  // Counting steps from zero is counting bit patterns: a carry out of the fraction is the next exponent.
  const bits = steps + (exponent - 1 + bias) * 2 ** fractionBits
  const infinity = (2 ** exponentBits - 1) * 2 ** fractionBits
  return sign + Math.min(bits, infinity)
}

function roundHalfEven(value: number): number {
  const low = Math.floor(value)
  const rest = value - low
  if (rest !== 0.5) return rest < 0.5 ? low : low + 1
  return low % 2 === 0 ? low : low + 1
}

/** The number that bits mean. */
export function numberOf(bits: number, dtype: Dense): number {
  const [exponentBits, fractionBits] = FORMATS[dtype]
  const sign = bits >= 2 ** (exponentBits + fractionBits) ? -1 : 1
  const exponent = Math.floor(bits / 2 ** fractionBits) % 2 ** exponentBits
  const fraction = (bits % 2 ** fractionBits) / 2 ** fractionBits
  const bias = 2 ** (exponentBits - 1) - 1
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias))
}

const WIDTH = { BF16: 2, F16: 2, F32: 4 } as const

/** Elements of a dense tensor as unsigned numbers. */
export function elementBits(bytes: Uint8Array, dtype: Dense): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Array.from({ length: bytes.byteLength / WIDTH[dtype] }, (_, i) =>
    WIDTH[dtype] === 2 ? view.getUint16(2 * i, true) : view.getUint32(4 * i, true),
  )
}

export interface ReadTensor {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly bytes: Uint8Array
}

/** All tensors of a file, by a reader that trusts it. */
export function readSafetensors(path: string): Map<string, ReadTensor> {
  const file = readFileSync(path)
  const headerSize = Number(file.readBigUInt64LE(0))
  const header = JSON.parse(file.subarray(8, 8 + headerSize).toString("utf8")) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >
  const entries = Object.entries(header).filter(([name]) => name !== "__metadata__")
  return new Map(
    entries.map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [begin, end],
        },
      ]) => [name, { dtype, shape, bytes: file.subarray(8 + headerSize + begin, 8 + headerSize + end) }],
    ),
  )
}

/** A tensor of the expected output: bytes that must be there, or the numbers that must have been rounded. */
export interface Expected {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly content: { readonly bytes: Uint8Array } | { readonly values: readonly number[] }
}

export interface ReferenceOptions {
  readonly to: Dense
  readonly castAll?: boolean
  /** Keep [E, out, in] for the Hub's names as well. */
  readonly raw?: boolean
}

/** Suffixes of codes and scales, whether the dense tensor is transposed, and whether the scale is rounded to f32. */
const NAMINGS = [
  { codes: ".blocks", scales: ".scales", rename: "", transposed: false, roundedScale: false },
  { codes: "_blocks", scales: "_scales", rename: "", transposed: true, roundedScale: false },
  { codes: ".weight_packed", scales: ".weight_scale", rename: ".weight", transposed: false, roundedScale: true },
] as const

/** The output of a conversion, tensor by tensor. */
export function expectedOutput(tensors: readonly TensorInput[], options: ReferenceOptions): Map<string, Expected> {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  const output = new Map<string, Expected>()
  for (const tensor of tensors) {
    if (NAMINGS.some(({ scales }) => tensor.name.endsWith(scales) && tensor.dtype === "U8")) continue
    const naming = NAMINGS.find(({ codes }) => tensor.name.endsWith(codes))
    if (naming === undefined) {
      output.set(tensor.name, expectedPlain(tensor, options))
      continue
    }
    const stem = tensor.name.slice(0, -naming.codes.length)
    const scales = byName.get(stem + naming.scales)!
    const transposed = naming.transposed && options.raw !== true
    const values = decodeMxfp4(tensor.bytes, scales.bytes, naming.roundedScale)
    output.set(stem + naming.rename, expectedWeight(values, scales.shape, transposed, options.to))
  }
  return output
}

function expectedPlain({ dtype, shape, bytes }: TensorInput, { castAll, to }: ReferenceOptions): Expected {
  if (castAll !== true || !(dtype in FORMATS) || dtype === to) return { dtype, shape, content: { bytes } }
  const from = dtype as Dense
  return { dtype: to, shape, content: { values: elementBits(bytes, from).map((bits) => numberOf(bits, from)) } }
}

/** `grid`: the shape of the scales, [.., rows, groups]. */
function expectedWeight(values: number[], grid: readonly number[], transposed: boolean, to: Dense): Expected {
  const leading = grid.slice(0, -2)
  const rows = grid.at(-2)!
  const columns = grid.at(-1)! * 32
  return transposed
    ? { dtype: to, shape: [...leading, columns, rows], content: { values: transpose(values, rows, columns) } }
    : { dtype: to, shape: [...leading, rows, columns], content: { values } }
}

/** Sentences on what differs; none when the output is right in every element. */
export function differences(found: ReadonlyMap<string, ReadTensor>, expected: ReadonlyMap<string, Expected>): string[] {
  const sentences: string[] = []
  for (const name of found.keys()) if (!expected.has(name)) sentences.push(`${name} is not expected`)
  for (const [name, tensor] of expected) {
    const other = found.get(name)
    const form = `${tensor.dtype} [${tensor.shape.join(",")}]`
    const otherForm = other === undefined ? "nothing" : `${other.dtype} [${other.shape.join(",")}]`
    if (other === undefined || form !== otherForm) sentences.push(`${name}: expected ${form}, found ${otherForm}`)
    else sentences.push(...contentDifferences(name, other, tensor))
  }
  return sentences
}

function contentDifferences(name: string, found: ReadTensor, { dtype, content }: Expected): string[] {
  if ("bytes" in content) return Buffer.compare(found.bytes, content.bytes) === 0 ? [] : [`${name}: bytes differ`]
  const bits = elementBits(found.bytes, dtype as Dense)
  if (bits.length !== content.values.length) return [`${name}: ${bits.length} elements, not ${content.values.length}`]
  const wrong = content.values.findIndex((value, i) => {
    const wanted = bitsOf(value, dtype as Dense)
    return wanted === undefined ? !Number.isNaN(numberOf(bits[i]!, dtype as Dense)) : wanted !== bits[i]
  })
  return wrong < 0 ? [] : [`${name}: element ${wrong} is 0x${bits[wrong]!.toString(16)}, not ${content.values[wrong]}`]
}
