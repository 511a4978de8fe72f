/** What this machine's memory gives: bytes per second that the workers of a product could read or copy at the most. */

import { Stream, type StreamName, StreamOptions } from "./abi.gen.ts"
import { assertOk, native, statusName } from "./library.ts"
import { limitError } from "./report.ts"
import { packStruct } from "./struct.ts"

export interface StreamSettings {
  /** 0: one for each allowed physical core. */
  readonly threads: number
  readonly numa: boolean
  /** Bytes of one pass. */
  readonly size: number
}

/** Memory and workers for measurements. Dispose it to free both. */
export class MemoryStream implements Disposable {
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
  }

  /** Seconds of one pass: `size` bytes read, or read and written. */
  measure(kind: StreamName): number {
    if (this.#disposed) throw new Error("the stream is disposed")
    const elapsed = new BigUint64Array(1)
    assertOk("dq_stream_measure", native().dq_stream_measure(this.#handle, Stream[kind], elapsed))
    return Number(elapsed[0]!) / 1e9
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return
    this.#disposed = true
    assertOk("dq_stream_destroy", native().dq_stream_destroy(this.#handle))
  }
}
