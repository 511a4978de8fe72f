/** What `inspect` finds out about a checkpoint, as values: the table and the JSON object show the same ones. */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import { type DenseDtype, DTYPE_BITS, type Dtype, elementCount } from "../containers/dtype.ts"
import { ggufText } from "../containers/gguf-metadata.ts"
import { isJsonArray, type JsonValue } from "../containers/json.ts"
import { DequantizerError } from "../errors.ts"
import { planConversion } from "../plan/conversion.ts"
import type { Plan } from "../plan/plan.ts"
import type { Weight } from "../schemes/scheme.ts"

/** One kind of content: the weights of a scheme, or the plain tensors of a dtype. */
export interface ContentRow {
  readonly name: string
  readonly quantized: boolean
  /** Weights of the scheme, or tensors of the dtype. */
  readonly count: number
  /** Values once dequantized. */
  readonly parameters: number
  readonly bytesStored: number
  /** Bytes that they take in the output of `convert`. */
  readonly bytesDense: number
}

export interface Survey {
  readonly checkpoint: Checkpoint
  /** `architectures` of config.json, else its `model_type`; `general.architecture` of GGUF. */
  readonly architecture: string | undefined
  readonly fileBytes: number
  readonly parameters: number
  readonly content: readonly ContentRow[]
  readonly to: DenseDtype
  /** Bytes of all files of the output; undefined where the checkpoint cannot be converted. */
  readonly bytesOut: number | undefined
  /** Stored tensors that the output leaves out. */
  readonly dropped: readonly string[]
  /** Sentences that `--strict` makes a failure. */
  readonly findings: readonly string[]
  /** Why the checkpoint cannot be converted. */
  readonly problem: DequantizerError | undefined
}

function planOrProblem(checkpoint: Checkpoint, to: DenseDtype): Plan | DequantizerError {
  try {
    return planConversion(checkpoint, { to })
  } catch (error) {
    if (error instanceof DequantizerError) return error
    throw error
  }
}

function addTo(rows: Map<string, ContentRow>, row: Omit<ContentRow, "count">): void {
  const before = rows.get(row.name)
  rows.set(row.name, {
    ...row,
    count: (before?.count ?? 0) + 1,
    parameters: (before?.parameters ?? 0) + row.parameters,
    bytesStored: (before?.bytesStored ?? 0) + row.bytesStored,
    bytesDense: (before?.bytesDense ?? 0) + row.bytesDense,
  })
}

function weightRow(weight: Weight, to: DenseDtype): Omit<ContentRow, "count"> {
  const parameters = weight.batch * weight.rows * weight.columns
  return {
    name: weight.scheme,
    quantized: true,
    parameters,
    bytesStored: weight.sources.reduce((sum, source) => sum + source.tensor.size, 0),
    bytesDense: (parameters * DTYPE_BITS[to]) / 8,
  }
}

function plainRow(tensor: { dtype: Dtype; shape: readonly number[]; size: number }): Omit<ContentRow, "count"> {
  const parameters = elementCount(tensor.shape) ?? 0
  return { name: tensor.dtype, quantized: false, parameters, bytesStored: tensor.size, bytesDense: tensor.size }
}

/** Plain tensors that get another form, and keep their dtype. */
function rearrangedRow(weight: Weight, dtype: DenseDtype): Omit<ContentRow, "count"> {
  const row = weightRow(weight, dtype)
  return { ...row, name: dtype, quantized: false }
}

/** Schemes first, then dtypes, the largest first. */
function contentRows(checkpoint: Checkpoint, plan: Plan | undefined, to: DenseDtype): readonly ContentRow[] {
  const weights = new Map<string, ContentRow>()
  const plain = new Map<string, ContentRow>()
  for (const weight of plan?.inventory.weights ?? []) {
    if (weight.plainDtype === undefined) addTo(weights, weightRow(weight, to))
    else addTo(plain, rearrangedRow(weight, weight.plainDtype))
  }
  for (const tensor of plan?.inventory.plain ?? checkpoint.tensors.values()) addTo(plain, plainRow(tensor))
  const bySize = (a: ContentRow, b: ContentRow): number => b.bytesStored - a.bytesStored
  return [...[...weights.values()].sort(bySize), ...[...plain.values()].sort(bySize)]
}

function architectureOf(checkpoint: Checkpoint): string | undefined {
  if (checkpoint.gguf !== undefined) return ggufText(checkpoint.gguf, "general.architecture")
  const text = (value: JsonValue | undefined): string | undefined => (typeof value === "string" ? value : undefined)
  const listed = checkpoint.config?.get("architectures")
  return (isJsonArray(listed) ? text(listed[0]) : undefined) ?? text(checkpoint.config?.get("model_type"))
}

/** Reads nothing but what `openCheckpoint` has read. */
export function surveyCheckpoint(checkpoint: Checkpoint, to: DenseDtype): Survey {
  const planned = planOrProblem(checkpoint, to)
  const plan = planned instanceof DequantizerError ? undefined : planned
  const content = contentRows(checkpoint, plan, to)
  return {
    checkpoint,
    architecture: architectureOf(checkpoint),
    fileBytes: checkpoint.shards.reduce((sum, shard) => sum + shard.file.size, 0),
    parameters: content.reduce((sum, row) => sum + row.parameters, 0),
    content,
    to,
    bytesOut: plan?.bytesOut,
    dropped: plan?.inventory.dropped.map((tensor) => tensor.name) ?? [],
    findings: plan?.inventory.disagreements ?? [],
    problem: planned instanceof DequantizerError ? planned : undefined,
  }
}
