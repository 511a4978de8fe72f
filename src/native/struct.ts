/**
 * Reads and writes the extern structs of kernels/abi.zig by the descriptors of abi.gen.ts, so that no offset is kept by
 * hand. Little endian, as both supported architectures are. A value that its field cannot hold is a fault of ours and
 * throws RangeError; `reserved` fields are never written and stay 0.
 */
import * as abi from "./abi.gen.ts"

type ScalarType = "u8" | "u32" | "i32" | "u64" | "f32" | "f64"

interface ScalarField {
  readonly offset: number
  readonly type: string
}

interface ArrayField extends ScalarField {
  readonly count: number
  readonly stride: number
}

export interface StructDescriptor {
  readonly size: number
  readonly fields: { readonly [name: string]: ScalarField | ArrayField }
}

/** The structs that stand inside other structs, by the name that a field's type gives. */
const nested = { Source: abi.Source } as const satisfies Record<string, StructDescriptor>
type Nested = typeof nested

/** What may be written: u64 as a safe integer or a bigint. */
type Input<T> = T extends "u64"
  ? number | bigint
  : T extends ScalarType
    ? number
    : T extends keyof Nested
      ? StructInput<Nested[T]>
      : never

/** What is read: u64 as a bigint, whatever its value. */
type Output<T> = T extends "u64"
  ? bigint
  : T extends ScalarType
    ? number
    : T extends keyof Nested
      ? StructOutput<Nested[T]>
      : never

/** Every field but `reserved`. An array may be shorter than the field; the rest is 0. */
export type StructInput<D extends StructDescriptor> = {
  readonly [K in keyof D["fields"] as K extends "reserved" ? never : K]: D["fields"][K] extends ArrayField
    ? ArrayLike<Input<D["fields"][K]["type"]>>
    : Input<D["fields"][K]["type"]>
}

export type StructOutput<D extends StructDescriptor> = {
  readonly [K in keyof D["fields"]]: D["fields"][K] extends ArrayField
    ? readonly Output<D["fields"][K]["type"]>[]
    : Output<D["fields"][K]["type"]>
}

const U64_MAX = (1n << 64n) - 1n

interface Scalar {
  readonly write: (view: DataView, offset: number, value: unknown) => void
  readonly read: (view: DataView, offset: number) => number | bigint
}

const scalars = {
  u8: {
    write: (view, offset, value) => view.setUint8(offset, integer("u8", 0, 0xff, value)),
    read: (view, offset) => view.getUint8(offset),
  },
  u32: {
    write: writeUnsigned32,
    read: (view, offset) => view.getUint32(offset, true),
  },
  i32: {
    write: (view, offset, value) => view.setInt32(offset, integer("i32", -0x8000_0000, 0x7fff_ffff, value), true),
    read: (view, offset) => view.getInt32(offset, true),
  },
  u64: {
    write: writeUnsigned64,
    read: (view, offset) => view.getBigUint64(offset, true),
  },
  f32: {
    write: (view, offset, value) => view.setFloat32(offset, float(value), true),
    read: (view, offset) => view.getFloat32(offset, true),
  },
  f64: {
    write: (view, offset, value) => view.setFloat64(offset, float(value), true),
    read: (view, offset) => view.getFloat64(offset, true),
  },
} as const satisfies Record<ScalarType, Scalar>

function integer(type: ScalarType, low: number, high: number, value: unknown): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < low || value > high) {
    throw new RangeError(`${value} is not a ${type}`)
  }
  return value
}

function writeUnsigned32(view: DataView, offset: number, value: unknown): void {
  if (typeof value !== "number" || value >>> 0 !== value) throw new RangeError(`${value} is not a u32`)
  view.setUint32(offset, value, true)
}

function writeUnsigned64(view: DataView, offset: number, value: unknown): void {
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not a safe integer`)
    if (value < 0) throw new RangeError(`${value} is not a u64`)
    // In halves: a plan has millions of them, and a bigint is an allocation.
    view.setUint32(offset, value % 2 ** 32, true)
    view.setUint32(offset + 4, Math.floor(value / 2 ** 32), true)
    return
  }
  if (typeof value !== "bigint" || value < 0n || value > U64_MAX) throw new RangeError(`${value} is not a u64`)
  view.setBigUint64(offset, value, true)
}

function float(value: unknown): number {
  if (typeof value !== "number") throw new RangeError(`${value} is not a number`)
  return value
}

function readValue(view: DataView, offset: number, type: string): unknown {
  const scalar: Scalar | undefined = (scalars as Record<string, Scalar>)[type]
  return scalar === undefined ? readStruct(view, offset, nestedDescriptor(type)) : scalar.read(view, offset)
}

function nestedDescriptor(type: string): StructDescriptor {
  const descriptor = (nested as Record<string, StructDescriptor>)[type]
  if (descriptor === undefined) throw new TypeError(`abi.gen.ts has a field of the unknown type ${type}`)
  return descriptor
}

/** One field of a struct, ready to be written: plans have hundreds of thousands of structs. */
interface FieldWriter {
  readonly name: string
  readonly offset: number
  /** Of an array; undefined: a single value. */
  readonly count: number | undefined
  readonly stride: number
  readonly write: (view: DataView, offset: number, value: unknown) => void
}

const fieldWriters = new WeakMap<StructDescriptor, readonly FieldWriter[]>()

function writersOf(descriptor: StructDescriptor): readonly FieldWriter[] {
  const known = fieldWriters.get(descriptor)
  if (known !== undefined) return known
  const fields = Object.entries(descriptor.fields).filter(([name]) => name !== "reserved")
  const writers = fields.map(([name, field]): FieldWriter => {
    const place = "count" in field ? { count: field.count, stride: field.stride } : { count: undefined, stride: 0 }
    return { name, offset: field.offset, ...place, write: valueWriter(field.type) }
  })
  fieldWriters.set(descriptor, writers)
  return writers
}

function valueWriter(type: string): FieldWriter["write"] {
  const scalar: Scalar | undefined = (scalars as Record<string, Scalar>)[type]
  if (scalar !== undefined) return scalar.write
  const writers = writersOf(nestedDescriptor(type))
  return (view, offset, value) => writeFields(view, offset, writers, value as Record<string, unknown>)
}

function writeFields(
  view: DataView,
  start: number,
  writers: readonly FieldWriter[],
  values: Record<string, unknown>,
): void {
  for (const { name, offset, count, stride, write } of writers) {
    const value = values[name]
    if (value === undefined) throw new TypeError(`field ${name} is not given`)
    if (count === undefined) {
      // By far the most are this; the call through a pointer would cost more than the rest.
      if (write === writeUnsigned32) writeUnsigned32(view, start + offset, value)
      else if (write === writeUnsigned64) writeUnsigned64(view, start + offset, value)
      else write(view, start + offset, value)
      continue
    }
    const items = value as ArrayLike<unknown>
    if (items.length > count) throw new RangeError(`field ${name} holds ${count} values, not ${items.length}`)
    for (let i = 0; i < items.length; i++) write(view, start + offset + i * stride, items[i])
  }
}

/** Writes one struct at `offset` of zeroed memory. */
export function writeStruct<D extends StructDescriptor>(
  view: DataView,
  offset: number,
  descriptor: D,
  values: StructInput<D>,
): void {
  writeFields(view, offset, writersOf(descriptor), values as Record<string, unknown>)
}

/** A struct in memory of its own, ready to be lent to one call. */
export function packStruct<D extends StructDescriptor>(descriptor: D, values: StructInput<D>): Uint8Array {
  const bytes = new Uint8Array(descriptor.size)
  writeStruct(viewOf(bytes), 0, descriptor, values)
  return bytes
}

export function readStruct<D extends StructDescriptor>(view: DataView, offset: number, descriptor: D): StructOutput<D> {
  const values: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(descriptor.fields)) {
    values[name] =
      "count" in field
        ? Array.from({ length: field.count }, (_, i) =>
            readValue(view, offset + field.offset + i * field.stride, field.type),
          )
        : readValue(view, offset + field.offset, field.type)
  }
  return values as StructOutput<D>
}

export function unpackStruct<D extends StructDescriptor>(descriptor: D, bytes: Uint8Array): StructOutput<D> {
  return readStruct(viewOf(bytes), 0, descriptor)
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** A u64 that counts something real as a number; a value beyond 2^53 is a fault of ours. */
export function safeNumber(value: bigint): number {
  const number = Number(value)
  if (!Number.isSafeInteger(number)) throw new RangeError(`${value} is not a safe integer`)
  return number
}

/** Name of an enum's value. */
export function enumName<E extends { readonly [name: string]: number }>(names: E, value: number): keyof E & string {
  for (const name in names) if (names[name] === value) return name
  throw new RangeError(`${value} is none of ${Object.keys(names).join(", ")}`)
}

/** NUL-padded text of a field. */
export function text(bytes: readonly number[]): string {
  const end = bytes.indexOf(0)
  return new TextDecoder().decode(Uint8Array.from(end < 0 ? bytes : bytes.slice(0, end)))
}
