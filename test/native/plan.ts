/**
 * What tests of the native library share: plan buffers built by hand, without the program's own planner, the settings
 * of a job, and a folder for its files.
 */
import { afterEach, beforeEach } from "bun:test"
import { statSync, writeFileSync } from "node:fs"
import {
  ABI_HASH,
  Codec,
  type CodecName,
  Dtype,
  type DtypeName,
  File,
  FileRole,
  Plan,
  Step,
} from "../../src/native/abi.gen.ts"
import type { JobSettings } from "../../src/native/job.ts"
import { viewOf, writeStruct } from "../../src/native/struct.ts"
import { type TemporaryFolder, temporaryFolder } from "../support/checkpoints.ts"

/** Of a job that nothing special is asked of. */
export const settings: JobSettings = {
  kind: "convert",
  io: "mmap",
  threads: 2,
  sync: false,
  memoryMax: 2 ** 30,
  sampleTiles: 0,
}

/** Gives each test of the file that calls this a fresh folder, removed at the test's end, and paths in it. */
export function folderOfEachTest(): Pick<TemporaryFolder, "file"> {
  let folder: TemporaryFolder | undefined
  beforeEach(() => {
    folder = temporaryFolder()
  })
  afterEach(() => folder?.[Symbol.dispose]())
  return {
    file: (...names) => {
      if (folder === undefined) throw new Error("no test runs")
      return folder.file(...names)
    },
  }
}

export interface TestSource {
  /** Index into `sources` of the plan. */
  readonly file: number
  readonly offset: number
  readonly size: number
  readonly lineBytes: number
  readonly rowsPerLine?: number
  readonly batchBytes?: number
  readonly unitColumns: number
  readonly unitBytes: number
}

export interface TestStep {
  readonly codec: CodecName
  readonly dtype: DtypeName
  readonly transposed?: boolean
  readonly batch?: number
  readonly rows: number
  readonly columns: number
  readonly rowAlign?: number
  readonly columnAlign?: number
  readonly parts?: number
  readonly swap?: { readonly middle: number; readonly inner: number }
  /** Index into `targets` of the plan. */
  readonly target: number
  readonly sources: readonly TestSource[]
}

export interface TestTarget {
  readonly path: string
  readonly head: Uint8Array
}

export interface TestPlan {
  readonly sources: readonly string[]
  readonly targets: readonly TestTarget[]
  readonly steps: readonly TestStep[]
}

const WIDTH: Record<DtypeName, number> = { f32: 4, f16: 2, bf16: 2, bytes: 1 }

export interface EncodedTestPlan {
  readonly bytes: Uint8Array
  /** Where each step's elements are in its target. */
  readonly places: readonly { readonly offset: number; readonly size: number }[]
  readonly targetSizes: readonly number[]
}

/** Lays the steps of each target one behind the other after its head. */
export function encodeTestPlan(plan: TestPlan): EncodedTestPlan {
  const paths = [...plan.sources, ...plan.targets.map((target) => target.path)].map((path) =>
    new TextEncoder().encode(path),
  )
  const heads = plan.targets.map((target) => target.head)
  const ends = heads.map((head) => head.byteLength)
  const places = plan.steps.map((step) => {
    const size = (step.batch ?? 1) * step.rows * step.columns * WIDTH[step.dtype]
    const offset = ends[step.target]!
    ends[step.target] = offset + size
    return { offset, size }
  })
  const texts = [...paths, ...heads]
  const positions: number[] = []
  let textSize = 0
  for (const text of texts) {
    positions.push(textSize)
    textSize += text.byteLength
  }
  const fileCount = paths.length
  const stepsStart = Plan.size + fileCount * File.size
  const textStart = stepsStart + plan.steps.length * Step.size
  const bytes = new Uint8Array(textStart + textSize)
  const view = viewOf(bytes)
  writeStruct(view, 0, Plan, {
    hash: ABI_HASH,
    file_count: fileCount,
    step_count: plan.steps.length,
    text_size: textSize,
  })
  for (let i = 0; i < fileCount; i++) {
    const target = i - plan.sources.length
    const stat = target < 0 ? statSync(plan.sources[i]!, { bigint: true }) : undefined
    writeStruct(view, Plan.size + i * File.size, File, {
      role: target < 0 ? FileRole.source : FileRole.target,
      path_size: paths[i]!.byteLength,
      path_offset: positions[i]!,
      size: stat?.size ?? ends[target]!,
      device: stat?.dev ?? 0,
      inode: stat?.ino ?? 0,
      mtime_ns: stat?.mtimeNs ?? 0,
      head_offset: target < 0 ? 0 : positions[fileCount + target]!,
      head_size: target < 0 ? 0 : heads[target]!.byteLength,
    })
  }
  for (const [i, step] of plan.steps.entries()) {
    writeStruct(view, stepsStart + i * Step.size, Step, {
      codec: Codec[step.codec],
      dtype: Dtype[step.dtype],
      transposed: step.transposed ? 1 : 0,
      source_count: step.sources.length,
      batch_count: step.batch ?? 1,
      rows: step.rows,
      columns: step.columns,
      row_align: step.rowAlign ?? 1,
      column_align: step.columnAlign ?? 1,
      part_count: step.parts ?? 1,
      swap_middle: step.swap?.middle ?? 1,
      swap_inner: step.swap?.inner ?? 1,
      target_file: plan.sources.length + step.target,
      target_offset: places[i]!.offset,
      target_size: places[i]!.size,
      parameters: [],
      sources: step.sources.map((source) => ({
        file: source.file,
        rows_per_line: source.rowsPerLine ?? 1,
        offset: source.offset,
        size: source.size,
        line_bytes: source.lineBytes,
        batch_bytes: source.batchBytes ?? 0,
        unit_columns: source.unitColumns,
        unit_bytes: source.unitBytes,
      })),
    })
  }
  for (const [i, text] of texts.entries()) bytes.set(text, textStart + positions[i]!)
  return { bytes, places, targetSizes: ends }
}

/** MXFP4 codes and scales of batch × rows × columns values, one behind the other in a file of their own. */
export function mxfp4Step(
  values: { readonly batch: number; readonly rows: number; readonly columns: number },
  place: { readonly file: number; readonly offset: number; readonly target: number },
  options: { readonly dtype: "bf16" | "f16" | "f32"; readonly transposed: boolean },
): TestStep {
  const { batch, rows, columns } = values
  const codes = columns / 2
  const scales = columns / 32
  return {
    codec: "mxfp4",
    dtype: options.dtype,
    transposed: options.transposed,
    batch,
    rows,
    columns,
    columnAlign: 32,
    target: place.target,
    sources: [
      {
        file: place.file,
        offset: place.offset,
        size: batch * rows * codes,
        lineBytes: codes,
        batchBytes: rows * codes,
        unitColumns: 32,
        unitBytes: 16,
      },
      {
        file: place.file,
        offset: place.offset + batch * rows * codes,
        size: batch * rows * scales,
        lineBytes: scales,
        batchBytes: rows * scales,
        unitColumns: 32,
        unitBytes: 1,
      },
    ],
  }
}

export function copyStep(file: number, offset: number, size: number, target: number): TestStep {
  return {
    codec: "copy",
    dtype: "bytes",
    rows: 1,
    columns: size,
    target,
    sources: [{ file, offset, size, lineBytes: size, unitColumns: 1, unitBytes: 1 }],
  }
}

/** Deterministic bytes; a period of 251 shows blocks that were swapped. */
export function fillBytes(size: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(size)
  for (let i = 0; i < size; i++) bytes[i] = (i + seed) % 251
  return bytes
}

/** MXFP4 codes of all values, then scales between 2^-20 and 2^20. */
export function fillMxfp4(path: string, batch: number, rows: number, columns: number, lead = 0): void {
  const codes = (batch * rows * columns) / 2
  const scales = (batch * rows * columns) / 32
  const bytes = new Uint8Array(lead + codes + scales)
  for (let i = 0; i < codes; i++) bytes[lead + i] = (i * 167 + (i >> 8) * 13) & 255
  for (let i = 0; i < scales; i++) bytes[lead + codes + i] = 107 + ((i * 31) % 41)
  writeFileSync(path, bytes)
}
