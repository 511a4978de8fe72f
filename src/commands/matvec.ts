/** `matvec`: multiplies with one weight of a checkpoint as it is stored. */
import { writeFile } from "node:fs/promises"
import { openCheckpoint } from "../checkpoint/open.ts"
import { ioFault } from "../containers/file.ts"
import { quote } from "../containers/quote.ts"
import { CheckError, UsageError } from "../errors.ts"
import { loadMatrix } from "../matrix/load.ts"
import type { ActivationName, Matrix, MultiplyOptions } from "../matrix/matrix.ts"
import { type Accuracy, measureAccuracy, measureSpeed, type Speed } from "../matrix/measure.ts"
import { formatNpy } from "../matrix/npy.ts"
import { randomActivations, readActivations, readBias } from "../matrix/vector.ts"
import type { JobProgress } from "../native/job.ts"
import { command } from "../ui/command.ts"
import { choice, flag, integer, type OptionValues, text } from "../ui/option.ts"
import { createProgress } from "../ui/progress.ts"
import { withSignals } from "../ui/signals.ts"
import { print, printLines } from "../ui/terminal.ts"
import { useLevel } from "./level.ts"
import { bindingRefusal, matvecJson, matvecLines, shareLines } from "./matvec-report.ts"
import { threadCount, workOptions } from "./work-options.ts"

const SEED_MAX = 2 ** 32 - 1
const EXPERT_MAX = 2 ** 20
const REPEAT_MAX = 1_000_000

const ACTIVATIONS = {
  none: "none",
  relu: "relu",
  silu: "silu",
  gelu: "gelu",
  "gelu-tanh": "gelu_tanh",
  swiglu: "swiglu",
  "swiglu-oss": "swiglu_oss",
} as const satisfies Record<string, ActivationName>

const options = {
  tensor: text({
    short: "t",
    value: "NAME",
    help: "the weight, by its dense or stored name; inspect --tensors lists them",
  }),
  expert: integer({ value: "N", min: 0, max: EXPERT_MAX, initial: undefined, help: "one matrix of a stacked weight" }),
  input: text({
    group: "Vectors",
    value: "FILE",
    completes: "path",
    help: "x from a .npy or .f32 file; up to 16 vectors of a batch",
  }),
  seed: integer({
    group: "Vectors",
    value: "N",
    min: 0,
    max: SEED_MAX,
    initial: undefined,
    defaultText: "1",
    help: "x from normally distributed numbers",
  }),
  bias: text({ group: "Vectors", value: "NAME", help: "a dense tensor that is added before the activation" }),
  act: choice({
    group: "Vectors",
    choices: ["none", "relu", "silu", "gelu", "gelu-tanh", "swiglu", "swiglu-oss"],
    initial: "none",
    help: "activation of the result",
  }),
  output: text({ short: "o", group: "Vectors", value: "FILE", completes: "path", help: "y as .npy" }),
  arithmetic: choice({
    group: "Kernels",
    choices: ["auto", "float", "int8"],
    initial: "auto",
    help: "auto: what is measured to be faster here",
  }),
  quantize: choice({
    group: "Kernels",
    choices: ["none", "mxfp4"],
    initial: "none",
    help: "round a dense weight on its way",
  }),
  numa: choice({
    group: "Kernels",
    choices: ["auto", "off"],
    initial: "auto",
    help: "auto: workers and tiles bound to cores and their memory",
  }),
  check: flag({ group: "Checks", help: "compare W·x with an f64 product from the file; exit 1 beyond the bound" }),
  repeat: integer({
    group: "Checks",
    value: "N",
    min: 1,
    max: REPEAT_MAX,
    initial: undefined,
    defaultText: "1 s",
    help: "products that are timed",
  }),
  threads: workOptions.threads,
} as const

type Values = OptionValues<typeof options>

export interface MatvecResult {
  readonly matrix: Matrix
  readonly x: Float32Array
  readonly y: Float32Array
  readonly activation: string
  readonly expert: number | undefined
  readonly arithmetic: "float" | "int8"
  readonly speed: Speed
  readonly accuracy: Accuracy | undefined
}

async function activations(values: Values, columns: number): Promise<Float32Array> {
  if (values.input === undefined) return randomActivations(columns, values.seed ?? 1)
  if (values.seed !== undefined) throw new UsageError("--input and --seed exclude each other")
  return await readActivations(values.input, columns)
}

/** y of one expert, or of all of them one behind the other. */
function multiplyAll(
  matrix: Matrix,
  x: Float32Array,
  product: MultiplyOptions,
  expert: number | undefined,
): Float32Array {
  if (expert !== undefined || matrix.facts.experts === 1) return matrix.multiply(x, undefined, product)
  const size = matrix.outputs(product.activation) * (x.length / matrix.facts.columns)
  const y = new Float32Array(size * matrix.facts.experts)
  for (let each = 0; each < matrix.facts.experts; each++) {
    matrix.multiply(x, y.subarray(each * size, (each + 1) * size), { ...product, expert: each })
  }
  return y
}

async function writeOutput(path: string, result: MatvecResult): Promise<void> {
  const { matrix, x, y } = result
  const batch = x.length / matrix.facts.columns
  const stack = result.expert === undefined ? matrix.facts.experts : 1
  const shape = [stack, batch].filter((dimension) => dimension > 1)
  try {
    await writeFile(path, formatNpy({ shape: [...shape, y.length / (stack * batch)], values: y }))
  } catch (error) {
    throw ioFault(path, error)
  }
}

/** What a run is told from outside. */
interface Watch {
  readonly signal: AbortSignal
  readonly onProgress: (phase: "load" | "check", progress: JobProgress) => void
}

async function run(path: string, name: string, values: Values, { signal, onProgress }: Watch): Promise<MatvecResult> {
  const activation = ACTIVATIONS[values.act]
  const threads = threadCount(values.threads)
  const checkpoint = await openCheckpoint(path)
  const { expert } = values
  const matrix = await loadMatrix(checkpoint, name, {
    threads,
    numa: values.numa,
    arithmetic: values.arithmetic,
    activation,
    signal,
    onProgress: (progress) => onProgress("load", progress),
    ...(expert === undefined ? {} : { expert }),
    ...(values.quantize === "none" ? {} : { quantize: values.quantize }),
  })
  try {
    const { rows, columns } = matrix.facts
    const x = await activations(values, columns)
    const bias = values.bias === undefined ? {} : { bias: await readBias(checkpoint, values.bias, rows, expert) }
    const product = { activation, ...bias }
    const y = multiplyAll(matrix, x, product, expert)
    const check = { signal, onProgress: (progress: JobProgress) => onProgress("check", progress) }
    const accuracy = values.check ? await measureAccuracy(matrix, x, check) : undefined
    const timing = { threads, numa: values.numa === "auto", count: values.repeat, signal }
    const speed = await measureSpeed(matrix, x, { ...product, ...timing })
    return { matrix, x, y, activation: values.act, expert, arithmetic: matrix.facts.arithmetic, speed, accuracy }
  } catch (error) {
    matrix.dispose()
    throw error
  }
}

export default command(
  {
    name: "matvec",
    summary: "y = act(W x + b) on one weight without expanding it",
    usage: "<path> -t NAME [options]",
    positionals: [{ name: "path", help: "a checkpoint", completes: "path" }],
    options,
    json: true,
    notes: [
      "Weights stay as they are stored, MXFP4 at 4.25 bits, up to the register. int8 arithmetic rounds x to 8 bits for every 32 columns; float arithmetic does not. Dense weights are multiplied in float arithmetic.",
      "swiglu: the first half of the rows is the gate, the second the up. swiglu-oss, the form of gpt-oss: even rows gate, odd rows up, clamped at 7. Both give half as many results as there are rows.",
      "Without --expert a stacked weight is loaded as a whole, and every matrix of it is multiplied.",
    ],
    examples: [
      {
        line: "dequantizer matvec gpt-oss-20b/original -t block.0.mlp.mlp1_weight",
        what: "every expert of a layer of gpt-oss",
      },
      {
        line: "dequantizer matvec model.gguf -t token_embd.weight --check",
        what: "compared with an f64 product",
      },
    ],
  },
  async ({ values, positionals, globals, ui }) => {
    const name = values.tensor
    if (name === undefined) throw new UsageError("matvec needs a weight", { hint: "name one with -t NAME" })
    useLevel(globals)
    const progress = createProgress(ui.progress, ui.color)
    const onProgress: Watch["onProgress"] = (phase, { bytesDone, bytesTotal }) =>
      progress.update({ phase, bytesDone, bytesTotal, tensor: name })
    const path = positionals[0] ?? ""
    const result = await withSignals((signal) => run(path, name, values, { signal, onProgress })).finally(() =>
      progress.close(),
    )
    using matrix = result.matrix
    if (values.output !== undefined) await writeOutput(values.output, result)
    if (ui.verbose) for (const line of shareLines(matrix)) ui.detail(line)
    const refusal = bindingRefusal(matrix)
    if (refusal !== undefined) ui.note(refusal)
    if (matrix.facts.nonFiniteCount > 0) {
      ui.warn(
        `${quote(matrix.facts.name)} has ${matrix.facts.nonFiniteCount} scales or values that are NaN or infinite`,
      )
    }
    if (ui.json) print(`${JSON.stringify(matvecJson(result))}\n`)
    else if (!ui.quiet) printLines(matvecLines(result, ui.paint))
    const { accuracy } = result
    if (accuracy !== undefined && !(accuracy.relativeError <= accuracy.bound)) {
      const error = accuracy.relativeError.toExponential(2)
      throw new CheckError(`relative error ${error} is beyond the bound of ${accuracy.bound.toExponential(2)}`)
    }
    return undefined
  },
)
