/**
 * Matrices of the native library: a weight in tiles, spread over the workers that multiply it. Loading and the reference
 * run on native threads and are polled; a product is one call. Sizes are bytes, times seconds, counts elements.
 */
import { ptr } from "bun:ffi"
import type { DequantizerError } from "../errors.ts"
import {
  Activation,
  type ActivationName,
  Arithmetic,
  type ArithmeticName,
  Binding,
  Codec,
  type CodecName,
  MatrixInfo,
  MatrixOptions,
  MatrixRequest,
  MatrixShare,
  NONE,
  Pairing,
  type PairingName,
  Progress,
  Report,
  Status,
} from "./abi.gen.ts"
import { describeErrno } from "./errno.ts"
import { type JobProgress, type JobReport, readProgress, readReport, type WaitOptions, waitUntilEnd } from "./job.ts"
import { assertOk, native, statusName } from "./library.ts"
import { limitError } from "./report.ts"
import { enumName, packStruct, safeNumber, text, unpackStruct } from "./struct.ts"

export interface MatrixSettings {
  /** 0: one for each allowed physical core. */
  readonly threads: number
  /** Workers bound to cores, tiles in the memory next to them. */
  readonly numa: boolean
  readonly arithmetic: ArithmeticName
  readonly pairing: PairingName
  /** Codec of the tiles; "copy": the one that is stored. */
  readonly tileCodec: CodecName
  readonly memoryMax: number
}

export interface MatrixFacts {
  readonly rows: number
  readonly columns: number
  readonly batch: number
  /** Bytes that one product reads. */
  readonly matrixBytes: number
  /** Bytes of all tiles. */
  readonly memoryBytes: number
  /** Scales, or dense values, that are NaN or infinite. */
  readonly nonFiniteCount: number
  readonly codec: CodecName
  readonly arithmetic: Exclude<ArithmeticName, "auto">
  readonly hasInt8: boolean
  /** Significant bits of the decoded weights where tiles keep their factors instead; 0: tiles stand for just these. */
  readonly weightBits: number
  readonly pairing: PairingName
  /** Workers that have rows, and those of the team. */
  readonly workers: number
  readonly threads: number
  /** What the choice of the arithmetic measured; undefined where there was none. */
  readonly measured: { readonly float: number; readonly int8: number } | undefined
  readonly level: string
}

/** What one worker multiplies. */
export interface Share {
  /** Runs of rows: one, or one of each half where rows of both halves meet in an activation. */
  readonly rows: readonly { readonly begin: number; readonly end: number }[]
  readonly memoryBytes: number
  /** The system's number of the worker's memory node. */
  readonly node: number
  /** The CPU it is bound to; undefined where it may move. */
  readonly cpu: number | undefined
  /**
   * Whether its tiles are bound to the node's memory: "none" where there is one node or binding is off; an error name
   * where the system forbids it, and pages are where the worker's first write put them.
   */
  readonly binding: "none" | "bound" | { readonly refused: string }
}

export interface Product {
  /** batch × columns. */
  readonly x: Float32Array
  /** batch × rows, or half as many rows for activations of pairs. */
  readonly y: Float32Array
  /** One for each row. */
  readonly bias?: Float32Array | undefined
  readonly item?: number | undefined
  readonly batch?: number | undefined
  readonly activation?: ActivationName | undefined
  readonly arithmetic?: ArithmeticName | undefined
  /** Of the reference: multiply the weight as it is stored, though the tiles hold it rounded. */
  readonly stored?: boolean | undefined
}

/** What native code uses during a call: an address alone would not keep a typed array from being freed. */
const lent = new Set<unknown>()

/** A matrix in native memory. Dispose it in any case: that ends what runs and frees the tiles. */
export class NativeMatrix implements Disposable {
  readonly #handle: number
  readonly #progress = new Uint8Array(Progress.size)
  #disposed = false

  private constructor(handle: number) {
    this.#handle = handle
  }

  /**
   * Starts to load a plan of one step (kernels/abi.zig: JobKind.load). The limits of machine and caller are errors; a
   * weight that has no products, or none in the arithmetic that is asked for, is told by that word.
   */
  static start(plan: Uint8Array, settings: MatrixSettings): NativeMatrix | "no_products" | "float_only" {
    const options = packStruct(MatrixOptions, {
      thread_count: settings.threads,
      numa: settings.numa ? 1 : 0,
      arithmetic: Arithmetic[settings.arithmetic],
      pairing: Pairing[settings.pairing],
      tile_codec: Codec[settings.tileCodec],
      memory_max: settings.memoryMax,
    })
    const handle = new Uint32Array(1)
    const status = native().dq_matrix_load(plan, plan.byteLength, options, handle)
    const name = statusName(status)
    if (name === "no_products" || name === "float_only") return name
    const error = limitError(name)
    if (error !== undefined) throw error
    assertOk("dq_matrix_load", status)
    return new NativeMatrix(handle[0]!)
  }

  poll(): JobProgress {
    assertOk("dq_matrix_poll", native().dq_matrix_poll(this.#alive(), this.#progress))
    return readProgress(this.#progress)
  }

  cancel(): void {
    assertOk("dq_matrix_cancel", native().dq_matrix_cancel(this.#alive()))
  }

  /** Waits for the end of loading, or of the reference, whatever it is. */
  async finish(options: WaitOptions = {}): Promise<JobReport> {
    await waitUntilEnd(this, options)
    const bytes = new Uint8Array(Report.size)
    assertOk("dq_matrix_report", native().dq_matrix_report(this.#alive(), bytes))
    return readReport(bytes)
  }

  facts(): MatrixFacts {
    const bytes = new Uint8Array(MatrixInfo.size)
    assertOk("dq_matrix_info", native().dq_matrix_info(this.#alive(), bytes))
    const values = unpackStruct(MatrixInfo, bytes)
    const arithmetic = enumName(Arithmetic, values.arithmetic)
    if (arithmetic === "auto") throw new Error("the library left the arithmetic open")
    return {
      rows: safeNumber(values.rows),
      columns: safeNumber(values.columns),
      batch: safeNumber(values.batch_count),
      matrixBytes: safeNumber(values.matrix_bytes),
      memoryBytes: safeNumber(values.memory_bytes),
      nonFiniteCount: safeNumber(values.non_finite_count),
      codec: enumName(Codec, values.codec),
      arithmetic,
      hasInt8: values.has_int8 === 1,
      weightBits: values.weight_bits,
      pairing: enumName(Pairing, values.pairing),
      workers: values.worker_count,
      threads: values.thread_count,
      measured:
        values.int8_ns === 0n
          ? undefined
          : { float: Number(values.float_ns) / 1e9, int8: Number(values.int8_ns) / 1e9 },
      level: text(values.level),
    }
  }

  shares(): Share[] {
    const bytes = new Uint8Array(MatrixShare.size)
    const { workers, pairing, rows } = this.facts()
    return Array.from({ length: workers }, (_, worker) => {
      assertOk("dq_matrix_share", native().dq_matrix_share(this.#alive(), worker, bytes))
      const values = unpackStruct(MatrixShare, bytes)
      const first = { begin: safeNumber(values.row_begin), end: safeNumber(values.row_end) }
      const second = { begin: first.begin + rows / 2, end: first.end + rows / 2 }
      const binding = enumName(Binding, values.binding)
      return {
        rows: pairing === "halves" ? [first, second] : [first],
        memoryBytes: safeNumber(values.memory_bytes),
        node: values.node,
        cpu: values.cpu === NONE ? undefined : values.cpu,
        binding: binding === "refused" ? { refused: describeErrno(values.binding_errno).name } : binding,
      }
    })
  }

  /** Computes y; false where an activation is NaN, infinite or beyond 2^88, and y is as it was. */
  multiply(product: Product): boolean {
    return this.#lend(product, "dq_matrix_multiply", (request) => native().dq_matrix_multiply(this.#alive(), request))
  }

  /** The same product `count` times; seconds of each, as the library measures them. */
  repeat(product: Product, count: number): Float64Array | undefined {
    const times = new BigUint64Array(count)
    const inRange = this.#lend(product, "dq_matrix_repeat", (request) =>
      native().dq_matrix_repeat(this.#alive(), request, times, count),
    )
    return inRange ? Float64Array.from(times, (ns) => Number(ns) / 1e9) : undefined
  }

  /** Starts the f64 product of a request; `finish` waits for it. */
  startReference(product: Product): void {
    this.#lend(product, "dq_matrix_reference", (request) => native().dq_matrix_reference(this.#alive(), request))
  }

  /** batch × rows sums of the reference that has ended. */
  reference(count: number): Float64Array {
    const sums = new Float64Array(count)
    assertOk("dq_matrix_reference_read", native().dq_matrix_reference_read(this.#alive(), sums, count))
    return sums
  }

  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    assertOk("dq_matrix_destroy", native().dq_matrix_destroy(this.#handle))
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  get disposed(): boolean {
    return this.#disposed
  }

  #alive(): number {
    if (this.#disposed) throw new Error("the matrix is disposed")
    return this.#handle
  }

  #lend(
    product: Product,
    call: "dq_matrix_multiply" | "dq_matrix_repeat" | "dq_matrix_reference",
    use: (request: Uint8Array) => number,
  ): boolean {
    lent.add(product)
    const request = packStruct(MatrixRequest, {
      x: address(product.x),
      x_count: product.x.length,
      y: address(product.y),
      y_count: product.y.length,
      bias: product.bias === undefined ? 0 : address(product.bias),
      bias_count: product.bias?.length ?? 0,
      item: product.item ?? 0,
      batch: product.batch ?? 1,
      activation: Activation[product.activation ?? "none"],
      arithmetic: Arithmetic[product.arithmetic ?? "auto"],
      stored: product.stored === true ? 1 : 0,
    })
    const status = use(request)
    lent.delete(product)
    if (status === Status.out_of_range) return false
    const error: DequantizerError | undefined = limitError(statusName(status))
    if (error !== undefined) throw error
    assertOk(call, status)
    return true
  }
}

function address(values: Float32Array): number {
  return values.length === 0 ? 0 : Number(ptr(values))
}
