/** What every container gives: files, and tensors at known byte positions in them. */
import type { Dtype } from "./dtype.ts"

/** A file as it was when its header was read; a job refuses a file whose size or identity has changed since. */
export interface SourceFile {
  /** Path that opens the file. */
  readonly path: string
  /** Name for messages and for the output: relative to the checkpoint's folder. */
  readonly name: string
  readonly size: number
  readonly device: bigint
  readonly inode: bigint
  readonly mtimeNs: bigint
}

/** A tensor as stored. */
export interface StoredTensor {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly file: SourceFile
  /** Bytes from the start of the file. No alignment is promised. */
  readonly offset: number
  /** Bytes; equals the dtype's width times the product of the shape. */
  readonly size: number
}

/** One opened file: its header, checked against the file's size. */
export interface ContainerFile {
  readonly file: SourceFile
  readonly tensors: readonly StoredTensor[]
  /** The file's own string metadata. */
  readonly metadata: ReadonlyMap<string, string>
  /** Bytes of the header, and of everything before the tensors. */
  readonly headerSize: number
}
