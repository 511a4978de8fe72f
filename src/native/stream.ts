/** What this machine's memory gives: bytes per second that the workers of a product could read or copy at the most. */

import {
  Codec,
  type CodecName,
  Dtype,
  type DtypeName,
  Stream,
  StreamDecode,
  type StreamName,
  StreamOptions,
  StreamPass,
} from "./abi.gen.ts"
import { assertOk, native, statusName } from "./library.ts"
import { limitError } from "./report.ts"
import { packStruct, safeNumber, unpackStruct } from "./struct.ts"

export interface StreamSettings {
  /** 0: one for each allowed physical core. */
  readonly threads: number
  readonly numa: boolean
  /** Bytes of one pass. */
  readonly size: number
}

/** The codecs that have values. */
export type ValueCodec = Exclude<CodecName, "copy">

/** Matrices of made-up values of a codec that are decoded from memory to memory. */
export interface DecodeSettings {
  readonly codec: ValueCodec
  readonly dtype: Exclude<DtypeName, "bytes">
  /** Each dense matrix is [columns, rows]. */
  readonly transposed: boolean
  /** Bytes of stored, or of dense, memory of a pass at the most; absent: all that the stream has. */
  readonly size?: number
}

/** One pass of decoding, of all workers together. */
export interface DecodePass {
  readonly seconds: number
  /** Stored bytes, and dense ones. */
  readonly bytesRead: number
  readonly bytesWritten: number
  readonly elements: number
}

/** Memory and workers for measurements. Dispose it to free both. */
export class MemoryStream implements Disposable {
  readonly size: number
  readonly #handle: number
  #disposed = false

  constructor(settings: StreamSettings) {
    const options = packStruct(StreamOptions, {
      thread_count: settings.threads,
      numa: settings.numa ? 1 : 0,
      size: settings.size,
    })
    const handle = new Uint32Array(1)
    const status = native().dq_stream_create(options, handle)
    const error = limitError(statusName(status))
    if (error !== undefined) throw error
    assertOk("dq_stream_create", status)
    this.#handle = handle[0]!
    this.size = settings.size
  }

  /** Seconds of one pass: `size` bytes read, or read and written. */
  measure(kind: StreamName): number {
    if (this.#disposed) throw new Error("the stream is disposed")
    const elapsed = new BigUint64Array(1)
    assertOk("dq_stream_measure", native().dq_stream_measure(this.#handle, Stream[kind], elapsed))
    return Number(elapsed[0]!) / 1e9
  }

  /** One pass at the level in use. The first of other matrices than before makes them up, before the clock starts. */
  decode(settings: DecodeSettings): DecodePass {
    if (this.#disposed) throw new Error("the stream is disposed")
    const request = packStruct(StreamDecode, {
      codec: Codec[settings.codec],
      dtype: Dtype[settings.dtype],
      transposed: settings.transposed ? 1 : 0,
      size: settings.size ?? 0,
    })
    const pass = new Uint8Array(StreamPass.size)
    const status = native().dq_stream_decode(this.#handle, request, pass)
    const error = limitError(statusName(status))
    if (error !== undefined) throw error
    assertOk("dq_stream_decode", status)
    const values = unpackStruct(StreamPass, pass)
    return {
      seconds: safeNumber(values.elapsed_ns) / 1e9,
      bytesRead: safeNumber(values.bytes_read),
      bytesWritten: safeNumber(values.bytes_written),
      elements: safeNumber(values.element_count),
    }
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return
    this.#disposed = true
    assertOk("dq_stream_destroy", native().dq_stream_destroy(this.#handle))
  }
}
