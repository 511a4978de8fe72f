/**
 * A plan as the native library takes it: one buffer of Files, Steps and text (kernels/abi.zig: Plan). Each tensor of
 * the output is one step; empty tensors have none. Nothing in the buffer points outside of it.
 */
import type { SourceFile, StoredTensor } from "../containers/container.ts"
import { type DenseDtype, DTYPE_BITS, type Dtype, isDenseDtype, type SafetensorsDtype } from "../containers/dtype.ts"
import {
  ABI_HASH,
  Codec,
  type CodecName,
  type DtypeName,
  Dtype as DtypeNumber,
  File,
  FileRole,
  NONE,
  PARAMETER_COUNT_MAX,
  Plan,
  SOURCE_COUNT_MAX,
  Step,
} from "../native/abi.gen.ts"
import type { ReportFile } from "../native/report.ts"
import { type StructInput, viewOf, writeStruct } from "../native/struct.ts"
import type { Weight } from "../schemes/scheme.ts"
import type { OutputTensor } from "./plan.ts"

/** A file that a job writes, or compares with. */
export interface TargetFile {
  readonly path: string
  /** Bytes of the whole file. */
  readonly size: number
  /** Bytes that the file starts with; a verify job compares them. Empty: they are not looked at. */
  readonly head: Uint8Array
  readonly tensors: readonly OutputTensor[]
}

export interface EncodedPlan {
  readonly bytes: Uint8Array
  /** The plan's files in the order of its File entries: sources first. */
  readonly files: readonly ReportFile[]
  /** The tensor that each step makes; none where steps only read. */
  readonly steps: readonly OutputTensor[]
  readonly stepCount: number
}

const DENSE: Readonly<Record<DenseDtype, "f32" | "f16" | "bf16">> = { F32: "f32", F16: "f16", BF16: "bf16" }

/** Encodes the work that makes (or checks) the tensors of all targets. */
export function encodePlan(targets: readonly TargetFile[]): EncodedPlan {
  const steps: { readonly tensor: OutputTensor; readonly target: number }[] = []
  const distinct = new Set<SourceFile>()
  for (const [target, { tensors }] of targets.entries()) {
    for (const tensor of tensors) {
      if (tensor.size === 0) continue
      steps.push({ tensor, target })
      for (const stored of storedTensors(tensor)) distinct.add(stored.file)
    }
  }
  const sources = [...distinct]
  const sourceIndex = new Map(sources.map((file, i) => [file, i]))
  const text = new Text()
  const files = [...sources.map((file) => sourceEntry(file, text)), ...targets.map((file) => targetEntry(file, text))]
  // Each entry is made when it is written: all at once would be the largest part of the memory that a plan takes.
  const entryOf = (i: number) => stepEntry(steps[i]!.tensor, sources.length + steps[i]!.target, sourceIndex)
  return {
    bytes: encode(files, steps.length, entryOf, text),
    files: [...sources, ...targets],
    steps: steps.map(({ tensor }) => tensor),
    stepCount: steps.length,
  }
}

/** A plan that only reads: one step without a target (kernels/abi.zig: JobKind.load). */
export interface EncodedLoad {
  readonly bytes: Uint8Array
  readonly files: readonly ReportFile[]
}

/** Encodes the reading of a weight for products; `transposed`: its stored columns are the rows of W in W · x. */
export function encodeLoad(weight: Weight, transposed: boolean): EncodedLoad {
  const sources = [...new Set(weight.sources.map((source) => source.tensor.file))]
  const sourceIndex = new Map(sources.map((file, i) => [file, i]))
  const text = new Text()
  const files = sources.map((file) => sourceEntry(file, text))
  const size = (weight.batch * weight.rows * weight.columns * DTYPE_BITS.F32) / 8
  const step = {
    ...weightWork(weight, transposed, "F32", size, sourceIndex),
    target_file: NONE,
    target_offset: 0,
    target_size: size,
  }
  return { bytes: encode(files, 1, () => step, text), files: sources }
}

/** A file to be read, in parts that tile it; empty parts are left out. */
export interface DigestFile {
  readonly file: SourceFile
  readonly parts: readonly ByteRange[]
}

/** Encodes the reading of files (kernels/abi.zig: JobKind.digest), a step for each part. */
export function encodeDigest(files: readonly DigestFile[]): EncodedPlan {
  const text = new Text()
  const entries = files.map(({ file }) => sourceEntry(file, text))
  const steps = files.flatMap(({ parts }, i) =>
    parts
      .filter(({ size }) => size > 0)
      .map((part) => ({ ...bytesWork(i, part), target_file: NONE, target_offset: 0, target_size: part.size })),
  )
  return {
    bytes: encode(entries, steps.length, (i) => steps[i]!, text),
    files: files.map(({ file }) => file),
    steps: [],
    stepCount: steps.length,
  }
}

function encode(
  files: readonly FileInput[],
  stepCount: number,
  stepAt: (index: number) => StepInput,
  text: Text,
): Uint8Array {
  const filesStart = Plan.size
  const stepsStart = filesStart + files.length * File.size
  const textStart = stepsStart + stepCount * Step.size
  const bytes = new Uint8Array(textStart + text.size)
  const view = viewOf(bytes)
  writeStruct(view, 0, Plan, {
    hash: ABI_HASH,
    file_count: files.length,
    step_count: stepCount,
    text_size: text.size,
  })
  for (const [i, file] of files.entries()) writeStruct(view, filesStart + i * File.size, File, file)
  for (let i = 0; i < stepCount; i += 1) writeStruct(view, stepsStart + i * Step.size, Step, stepAt(i))
  text.copyTo(bytes, textStart)
  return bytes
}

/** Paths and headers, one behind the other. */
class Text {
  readonly #parts: Uint8Array[] = []
  size = 0

  /** Appends bytes and returns their position. */
  add(bytes: Uint8Array): number {
    const position = this.size
    this.#parts.push(bytes)
    this.size += bytes.byteLength
    return position
  }

  copyTo(target: Uint8Array, start: number): void {
    let position = start
    for (const part of this.#parts) {
      target.set(part, position)
      position += part.byteLength
    }
  }
}

type FileInput = StructInput<typeof File>

function sourceEntry(file: SourceFile, text: Text): FileInput {
  const path = new TextEncoder().encode(file.path)
  return {
    role: FileRole.source,
    path_size: path.byteLength,
    path_offset: text.add(path),
    size: file.size,
    device: file.device,
    inode: file.inode,
    mtime_ns: file.mtimeNs,
    head_offset: 0,
    head_size: 0,
  }
}

function targetEntry(file: TargetFile, text: Text): FileInput {
  const path = new TextEncoder().encode(file.path)
  return {
    role: FileRole.target,
    path_size: path.byteLength,
    path_offset: text.add(path),
    size: file.size,
    device: 0,
    inode: 0,
    mtime_ns: 0,
    head_offset: text.add(file.head),
    head_size: file.head.byteLength,
  }
}

function storedTensors({ origin }: OutputTensor): StoredTensor[] {
  return origin.kind === "weight" ? origin.weight.sources.map((source) => source.tensor) : [origin.tensor]
}

type StepInput = StructInput<typeof Step>

function stepEntry(tensor: OutputTensor, target: number, files: ReadonlyMap<SourceFile, number>): StepInput {
  const place = { target_file: target, target_offset: tensor.offset, target_size: tensor.size }
  const { origin } = tensor
  if (origin.kind === "weight") {
    return { ...place, ...weightWork(origin.weight, origin.transposed, tensor.dtype, tensor.size, files) }
  }
  return { ...place, ...plainWork(origin.tensor, tensor, files) }
}

type Work = Omit<StepInput, "target_file" | "target_offset" | "target_size">

function weightWork(
  weight: Weight,
  transposed: boolean,
  dtype: SafetensorsDtype,
  size: number,
  files: ReadonlyMap<SourceFile, number>,
): Work {
  const values = weight.batch * weight.rows * weight.columns
  if (values * DTYPE_BITS[dtype] !== size * 8) {
    throw new Error(`weight ${weight.name}: ${values} values do not fill ${size} bytes of ${dtype}`)
  }
  if (weight.sources.length > SOURCE_COUNT_MAX || weight.parameters.length > PARAMETER_COUNT_MAX) {
    throw new Error(`weight ${weight.name}: more sources or parameters than a step can name`)
  }
  return {
    codec: Codec[weight.codec],
    dtype: DtypeNumber[denseName(dtype)],
    transposed: transposed ? 1 : 0,
    source_count: weight.sources.length,
    batch_count: weight.batch,
    rows: weight.rows,
    columns: weight.columns,
    row_align: weight.rowAlign,
    column_align: weight.columnAlign,
    part_count: weight.parts ?? 1,
    swap_middle: weight.rowSwap?.middle ?? 1,
    swap_inner: weight.rowSwap?.inner ?? 1,
    parameters: weight.parameters,
    sources: weight.sources.map((source) => ({
      file: files.get(source.tensor.file)!,
      rows_per_line: source.rowsPerLine,
      offset: source.tensor.offset,
      size: source.tensor.size,
      line_bytes: source.lineBytes,
      batch_bytes: source.batchBytes,
      unit_columns: source.unitColumns,
      unit_bytes: source.unitBytes,
    })),
  }
}

/** A stored tensor as one long row: of bytes that are copied, or of elements that are cast. */
function plainWork(stored: StoredTensor, tensor: OutputTensor, files: ReadonlyMap<SourceFile, number>): Work {
  const file = files.get(stored.file)!
  if (tensor.origin.kind !== "cast") return bytesWork(file, stored)
  const dense = requireDense(stored.dtype)
  return rowWork(file, stored, DTYPE_BITS[dense] / 8, DENSE[dense], denseName(tensor.dtype))
}

/** Bytes of a file as they are. */
function bytesWork(file: number, bytes: ByteRange): Work {
  return rowWork(file, bytes, 1, "copy", "bytes")
}

/** Bytes of a file. */
export type ByteRange = Pick<StoredTensor, "offset" | "size">

/** One long row of elements of `unit` bytes. */
function rowWork(file: number, { offset, size }: ByteRange, unit: number, codec: CodecName, dtype: DtypeName): Work {
  return {
    codec: Codec[codec],
    dtype: DtypeNumber[dtype],
    transposed: 0,
    source_count: 1,
    batch_count: 1,
    rows: 1,
    columns: size / unit,
    row_align: 1,
    column_align: 1,
    part_count: 1,
    swap_middle: 1,
    swap_inner: 1,
    parameters: [],
    sources: [
      {
        file,
        rows_per_line: 1,
        offset,
        size,
        line_bytes: size,
        batch_bytes: 0,
        unit_columns: 1,
        unit_bytes: unit,
      },
    ],
  }
}

function denseName(dtype: Dtype): "f32" | "f16" | "bf16" {
  return DENSE[requireDense(dtype)]
}

function requireDense(dtype: Dtype): DenseDtype {
  if (!isDenseDtype(dtype)) throw new Error(`${dtype} is not a dense dtype`)
  return dtype
}
