/** Loading a weight for products: read once, packed into tiles by the workers that will multiply them. */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import { quote, tensorFault, tensorLine } from "../containers/quote.ts"
import { UnsupportedError, UsageError } from "../errors.ts"
import type { CodecName, PairingName } from "../native/abi.gen.ts"
import type { JobProgress, JobReport } from "../native/job.ts"
import { NativeMatrix } from "../native/matrix.ts"
import { reportError } from "../native/report.ts"
import { type EncodedLoad, encodeLoad } from "../plan/encode.ts"
import type { Weight } from "../schemes/scheme.ts"
import { findWeight, pickExpert } from "./find.ts"
import { type ActivationName, type ArithmeticName, cancelled, Matrix } from "./matrix.ts"

export interface LoadOptions {
  /** 0 or absent: one for each allowed physical core. */
  readonly threads?: number
  /** "off": workers and memory go where the system puts them; default "auto": bound to cores and their nodes. */
  readonly numa?: "auto" | "off"
  /** Default "auto": what a measurement at the end of loading finds faster, which `facts.arithmetic` tells. */
  readonly arithmetic?: ArithmeticName
  /** Needed only for swiglu where the rows are not a multiple of 4: which rows share a tile. */
  readonly activation?: ActivationName
  /** Load this matrix of a stacked weight alone; absent: all. */
  readonly expert?: number
  /** Round a dense weight to MXFP4 on its way, as OCP Microscaling v1.0 has it. */
  readonly quantize?: "mxfp4"
  /** Bound of all memory in bytes; absent: none. */
  readonly maxMemory?: number
  readonly onProgress?: (progress: JobProgress) => void
  readonly signal?: AbortSignal
}

const DENSE: ReadonlySet<CodecName> = new Set<CodecName>(["f32", "f16", "bf16"])

/**
 * Reads the weight called `name` (see `findWeight`) into memory, packed, and returns it ready for products.
 *
 * Throws UsageError for a name or an expert that there is not, UnsupportedError for formats without products,
 * MalformedError where a weight that is to be rounded has values that are not finite, RefusedError where the memory
 * limit is too small, IoError for files, CancelledError once the signal has fired.
 */
export async function loadMatrix(checkpoint: Checkpoint, name: string, options: LoadOptions = {}): Promise<Matrix> {
  const found = findWeight(checkpoint, name)
  const weight = options.expert === undefined ? found : pickExpert(found, options.expert)
  checkOptions(weight, options)
  if (!hasRows(weight)) refuse("no_products", weight)
  if (options.signal?.aborted) throw cancelled(options.signal)
  // What a packing alone stores [in, out] is multiplied as the [out, in] of the layer.
  const transposed = weight.orientation === "always-transposed"
  const plan = encodeLoad(weight, transposed)
  const started = NativeMatrix.start(plan.bytes, {
    threads: options.threads ?? 0,
    numa: options.numa !== "off",
    arithmetic: options.arithmetic ?? "auto",
    pairing: pairingOf(transposed ? weight.columns : weight.rows, options.activation),
    tileCodec: tileCodec(options),
    memoryMax: options.maxMemory ?? Number.MAX_SAFE_INTEGER,
  })
  const native = typeof started === "string" ? refuse(started, weight) : started
  try {
    const report = await native.finish({ signal: options.signal, onProgress: options.onProgress })
    if (report.status === "no_products") refuse(report.status, weight)
    throwFailure(report, weight, plan, options)
    // A signal that came too late for the job counts all the same.
    if (options.signal?.aborted) throw cancelled(options.signal)
    return matrixOf(native, weight, plan, report)
  } catch (error) {
    native.dispose()
    throw error
  }
}

/** Whether stored rows are those of the weight, and not one run of all its values. */
function hasRows({ shape, columns }: Weight): boolean {
  return shape.length < 2 || shape.slice(-2).includes(columns)
}

function refuse(why: "no_products" | "float_only", weight: Weight): never {
  if (why === "float_only") throw floatOnly(weight)
  const { file, name } = weight.sources[0]!.tensor
  const what = `${weight.scheme} weights (${weight.codec}) of this kind have no products`
  throw new UnsupportedError(tensorLine(file.path, name, what), {
    hint: "convert the checkpoint and multiply with the dense weight",
  })
}

function floatOnly(weight: Weight): UsageError {
  const hint = DENSE.has(weight.codec)
    ? "int8 arithmetic is for coded weights; quantize: mxfp4 rounds a dense one"
    : "leave the arithmetic open"
  return new UsageError(`${weight.codec} weights are multiplied in float arithmetic only`, { hint })
}

function checkOptions(weight: Weight, options: LoadOptions): void {
  const dense = DENSE.has(weight.codec)
  if (options.quantize !== undefined && !dense) {
    throw new UsageError(`${quote(weight.name)} is quantized already; only dense weights are rounded to mxfp4`)
  }
}

function tileCodec({ quantize }: LoadOptions): CodecName {
  return quantize ?? "copy"
}

/** Halves serve every activation where the rows are a multiple of 4; else the wanted one decides. */
function pairingOf(rows: number, activation: ActivationName | undefined): PairingName {
  if (rows % 4 === 0) return "halves"
  return activation === "swiglu" && rows % 2 === 0 ? "halves" : "none"
}

function throwFailure(report: JobReport, weight: Weight, plan: EncodedLoad, options: LoadOptions): void {
  if (report.status === "cancelled") throw cancelled(options.signal)
  if (report.status === "out_of_range") {
    const { file, name } = weight.sources[0]!.tensor
    throw tensorFault(file.path, name, `has values that are NaN or infinite: it cannot become ${options.quantize}`)
  }
  const error = reportError(report, plan.files)
  if (error !== undefined) throw error
}

function matrixOf(native: NativeMatrix, weight: Weight, plan: EncodedLoad, report: JobReport): Matrix {
  const facts = native.facts()
  return new Matrix(
    native,
    {
      name: weight.name,
      scheme: weight.scheme,
      rows: facts.rows,
      columns: facts.columns,
      experts: facts.batch,
      codec: facts.codec,
      storedCodec: weight.codec,
      arithmetic: facts.arithmetic,
      hasInt8: facts.hasInt8,
      weightBits: facts.weightBits,
      measured: facts.measured,
      packedBytes: facts.matrixBytes,
      memoryBytes: facts.memoryBytes,
      nonFiniteCount: facts.nonFiniteCount,
      workers: facts.workers,
      threads: facts.threads,
      level: facts.level,
      loadSeconds: report.seconds,
    },
    plan.files,
  )
}
