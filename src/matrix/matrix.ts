/**
 * A weight that is multiplied as it is stored: y = activation(W · x + bias), with 4-bit codes becoming numbers only in a
 * register. Vectors are Float32Arrays; a batch of up to 16 of them stands one behind the other and shares one pass over
 * the weight.
 */

import { quote } from "../containers/quote.ts"
import { CancelledError, UsageError } from "../errors.ts"
import { type ActivationName, type ArithmeticName, BATCH_MAX, type CodecName } from "../native/abi.gen.ts"
import type { JobProgress } from "../native/job.ts"
import type { NativeMatrix, Product, Share } from "../native/matrix.ts"
import { type ReportFile, reportError } from "../native/report.ts"

/**
 * none, relu, silu, gelu (with erf), gelu_tanh: element by element, as in torch. swiglu: silu(gate) · up, where the first
 * half of the rows is the gate and the second the up. swiglu_oss: the form of gpt-oss, even rows gate and odd rows up,
 * gate · sigmoid(1.702 · gate) · (up + 1), clamped at 7. Both give half as many outputs as there are rows.
 */
export type { ActivationName, ArithmeticName } from "../native/abi.gen.ts"
export type { Share } from "../native/matrix.ts"

export interface MultiplyOptions {
  /** Default "none". */
  readonly activation?: ActivationName
  /** One value for each row, added before the activation. */
  readonly bias?: Float32Array
  /** Which matrix of a stacked weight; default 0. */
  readonly expert?: number
  /** Default: what the matrix was loaded for. */
  readonly arithmetic?: ArithmeticName
}

export interface ReferenceOptions {
  /** Which matrix of a stacked weight; default 0. */
  readonly expert?: number
  /** Of a weight that was rounded at load: multiply it as it is stored. */
  readonly stored?: boolean
  /** Bytes count values here. */
  readonly onProgress?: (progress: JobProgress) => void
  readonly signal?: AbortSignal
}

/** What a matrix is, and how it multiplies. */
export interface MatrixFacts {
  /** Dense name. */
  readonly name: string
  /** Scheme of the stored weight, as `inspect` calls it. */
  readonly scheme: string
  readonly rows: number
  readonly columns: number
  /** Matrices of a stacked weight. */
  readonly experts: number
  /** Codec of the tiles. */
  readonly codec: CodecName
  /** Codec of the file; another one where the weight was rounded on its way. */
  readonly storedCodec: CodecName
  readonly arithmetic: Exclude<ArithmeticName, "auto">
  /** Seconds of a product by each arithmetic, where `auto` measured them. */
  readonly measured: { readonly float: number; readonly int8: number } | undefined
  /** Whether int8 arithmetic can be chosen. */
  readonly hasInt8: boolean
  /**
   * Significant bits that a decoded weight is rounded to where the library that defines the format rounds the product of
   * code and scale, which products keep unrounded; 0: the weights are the decoded ones.
   */
  readonly weightBits: number
  /** Bytes that one product reads. */
  readonly packedBytes: number
  /** Bytes that all tiles take. */
  readonly memoryBytes: number
  /** Scales, or dense values, that are NaN or infinite: rows with one give a result that is not finite. */
  readonly nonFiniteCount: number
  /** Workers that have rows, and those that could have. */
  readonly workers: number
  readonly threads: number
  /** CPU level of the kernels. */
  readonly level: string
  /** Seconds that loading took. */
  readonly loadSeconds: number
}

/** A loaded weight; `loadMatrix` makes it. Dispose it, or declare it with `using`, to free its memory. */
export class Matrix implements Disposable {
  readonly facts: MatrixFacts
  readonly #native: NativeMatrix
  readonly #files: readonly ReportFile[]

  constructor(native: NativeMatrix, facts: MatrixFacts, files: readonly ReportFile[]) {
    this.#native = native
    this.facts = facts
    this.#files = files
  }

  /** Outputs of one vector: the rows, or half of them for activations of pairs. */
  outputs(activation: ActivationName = "none"): number {
    return isOfPairs(activation) ? this.facts.rows / 2 : this.facts.rows
  }

  /**
   * Computes y for one vector x, or for a batch of them, and returns it. `y` is filled and returned where it is given.
   * Throws UsageError for lengths that do not fit, an activation that this matrix cannot pair rows for, and activations
   * in x that are not finite or beyond 2^88.
   */
  multiply(x: Float32Array, y?: Float32Array, options: MultiplyOptions = {}): Float32Array {
    const product = this.#product(x, y, options)
    if (!this.#native.multiply(product)) throw outOfRange(x)
    return product.y
  }

  /** Seconds of each of `count` products, timed inside the library. */
  time(x: Float32Array, count: number, options: MultiplyOptions = {}): Float64Array {
    if (!Number.isInteger(count) || count < 1) throw new UsageError(`${count} is no number of products`)
    const times = this.#native.repeat(this.#product(x, undefined, options), count)
    if (times === undefined) throw outOfRange(x)
    return times
  }

  /**
   * W · x in f64, from the files by the scalar decoder: what products are checked against. Neither bias nor activation
   * takes part. A weight that was rounded at load is rounded here too, unless `stored` asks for it as it is. Takes
   * seconds for a large weight; `signal` ends it. While it runs nothing can be multiplied.
   */
  async reference(x: Float32Array, options: ReferenceOptions = {}): Promise<Float64Array> {
    const { expert, stored, onProgress, signal } = options
    const product = this.#product(x, undefined, expert === undefined ? {} : { expert })
    this.#native.startReference({ ...product, stored })
    const report = await this.#native.finish({ signal, onProgress })
    if (report.status === "cancelled") throw cancelled(signal)
    const error = reportError(report, this.#files)
    if (error !== undefined) throw error
    return this.#native.reference(product.y.length)
  }

  /** Which worker has which rows, in the memory of which node. */
  shares(): Share[] {
    return this.#native.shares()
  }

  dispose(): void {
    this.#native.dispose()
  }

  [Symbol.dispose](): void {
    this.#native.dispose()
  }

  #product(x: Float32Array, y: Float32Array | undefined, options: MultiplyOptions): Product {
    const { rows, columns, experts } = this.facts
    if (this.#native.disposed) throw new UsageError(`the matrix ${quote(this.facts.name)} is disposed`)
    const batch = x.length / columns
    if (!Number.isInteger(batch) || batch < 1 || batch > BATCH_MAX) {
      const wanted = `${columns} values, or up to ${BATCH_MAX} times as many`
      throw new UsageError(`x has ${x.length} values, ${quote(this.facts.name)} takes ${wanted}`)
    }
    const activation = options.activation ?? "none"
    this.#checkPairs(activation)
    const outputs = this.outputs(activation) * batch
    if (y !== undefined && y.length !== outputs) throw new UsageError(`y has ${y.length} values, not ${outputs}`)
    if (options.bias !== undefined && options.bias.length !== rows) {
      throw new UsageError(`bias has ${options.bias.length} values, not ${rows}`)
    }
    const item = options.expert ?? 0
    if (!Number.isInteger(item) || item < 0 || item >= experts) {
      throw new UsageError(`there is no expert ${item} among ${experts}`)
    }
    if (options.arithmetic === "int8" && !this.facts.hasInt8) {
      throw new UsageError(`${this.facts.codec} weights are multiplied in float arithmetic only`)
    }
    const { bias, arithmetic } = options
    return { x, y: y ?? new Float32Array(outputs), bias, item, batch, activation, arithmetic }
  }

  #checkPairs(activation: ActivationName): void {
    if (!isOfPairs(activation)) return
    const { rows } = this.facts
    const halves = this.#native.facts().pairing === "halves"
    if (activation === "swiglu" ? halves : rows % (halves ? 4 : 2) === 0) return
    if (rows % 2 !== 0) throw new UsageError(`${activation} takes pairs of rows, and there are ${rows}`)
    throw new UsageError(`the matrix was not loaded for ${activation}`, {
      hint: `give loadMatrix the option activation: "${activation}"`,
    })
  }
}

export function isOfPairs(activation: ActivationName): boolean {
  return activation === "swiglu" || activation === "swiglu_oss"
}

export const RANGE_TEXT = "activations are finite and not beyond 2^88"

/** Index of the first activation that no product takes; -1: there is none. */
export function firstOutOfRange(x: Float32Array): number {
  return x.findIndex((value) => !(Math.abs(value) <= 2 ** 96))
}

function outOfRange(x: Float32Array): UsageError {
  const index = firstOutOfRange(x)
  return new UsageError(`x[${index}] is ${x[index]}: ${RANGE_TEXT}`)
}

export function cancelled(signal: AbortSignal | undefined): CancelledError {
  return signal?.reason instanceof CancelledError ? signal.reason : new CancelledError()
}
