/**
 * Which conversion of a source a given output is. The options are read off the output's tensors; what no choice of
 * options explains is a problem.
 */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import type { StoredTensor } from "../containers/container.ts"
import { type DenseDtype, isDenseDtype } from "../containers/dtype.ts"
import { quote } from "../containers/quote.ts"
import { UnsupportedError } from "../errors.ts"
import { formatPlural, formatShape } from "../format.ts"
import { planConversion } from "../plan/conversion.ts"
import type { TargetFile } from "../plan/encode.ts"
import { escapeGlob } from "../plan/glob.ts"
import type { OutputTensor, Plan, PlanOptions } from "../plan/plan.ts"

const LAYOUTS = ["auto", "raw", "hf"] as const

/** Differences that are told one by one. */
const PROBLEMS_MAX = 10

export interface Candidate {
  readonly plan: Plan
  /** Sentences on tensors that the output lacks, has too many, or has in another form. */
  readonly problems: readonly string[]
}

/**
 * The conversions that the output may be, the likeliest first: those that explain every tensor, or the one that
 * explains most. There are several only where layouts give the same shapes (all experts square), so that only the
 * values can tell.
 */
export function inferPlans(source: Checkpoint, output: Checkpoint): Candidate[] {
  const candidates = LAYOUTS.flatMap((layout) => {
    const candidate = candidateFor(source, output, layout)
    return candidate === undefined ? [] : [candidate]
  })
  const fewest = Math.min(...candidates.map((candidate) => candidate.differences.length))
  const best = candidates.filter((candidate) => candidate.differences.length === fewest)
  const distinct = best.filter((candidate, i) => best.findIndex((other) => sameForm(other.plan, candidate.plan)) === i)
  const chosen = fewest === 0 ? distinct : distinct.slice(0, 1)
  return chosen.map(({ plan, differences }) => ({ plan, problems: shorten(differences) }))
}

function candidateFor(
  source: Checkpoint,
  output: Checkpoint,
  layout: PlanOptions["layout"],
): { plan: Plan; differences: string[] } | undefined {
  try {
    const kind = source.gguf === undefined ? "auto" : output.kind
    // A tensor without scales that was copied looks like one that was excluded.
    const settings = { layout, shardSize: "keep", kind, missingScale: "one" } as const
    const plan = planConversion(source, { ...settings, ...readOptions(planConversion(source, settings), output) })
    return { plan, differences: compareTensors(plan, output) }
  } catch (error) {
    // A layout that this source cannot be given is not what the output has.
    if (layout === "hf" && error instanceof UnsupportedError) return undefined
    throw error
  }
}

/** dtype, cast and excluded names, as the output's tensors show them against a plan that decodes everything. */
function readOptions(plan: Plan, output: Checkpoint): Pick<PlanOptions, "to" | "castAll" | "exclude"> {
  const tensors = plan.shards.flatMap((shard) => shard.tensors)
  const weights = tensors.filter(isDecoded)
  const plain = tensors.filter((tensor) => !isDecoded(tensor) && isDenseDtype(tensor.dtype))
  const found = ({ name }: OutputTensor) => output.tensors.get(name)
  const cast = plain.filter((tensor) => (found(tensor)?.dtype ?? tensor.dtype) !== tensor.dtype)
  // Codes may have the name that the dense tensor has, and a dtype that it could have.
  const kept = new Set(weights.filter((tensor) => keepsStored(tensor, output)))
  const made = [...weights.filter((tensor) => !kept.has(tensor)), ...cast]
  const to = commonest(made.map((tensor) => found(tensor)?.dtype).filter(isDense)) ?? "BF16"
  const uncast = cast.length === 0 ? [] : plain.filter(({ name, dtype }) => output.tensors.get(name)?.dtype === dtype)
  const excluded = [...kept, ...uncast.filter(({ dtype }) => dtype !== to)]
  return { to, castAll: cast.length > 0, exclude: excluded.map(({ name }) => escapeGlob(name)) }
}

/** Whether a tensor is that of a quantized weight. */
function isDecoded({ origin }: OutputTensor): boolean {
  return origin.kind === "weight" && origin.weight.plainDtype === undefined
}

/** The value that occurs most often: one tensor that is wrong must not make all others look so. */
function commonest<T>(values: readonly T[]): T | undefined {
  const groups = [...Map.groupBy(values, (value) => value)]
  return groups.toSorted(([, a], [, b]) => b.length - a.length)[0]?.[0]
}

function isDense(dtype: string | undefined): dtype is DenseDtype {
  return dtype !== undefined && isDenseDtype(dtype)
}

function keepsStored({ origin }: OutputTensor, output: Checkpoint): boolean {
  if (origin.kind !== "weight") return false
  return origin.weight.sources.every(({ tensor }) => {
    const found = output.tensors.get(tensor.name)
    return found !== undefined && form(found) === form(tensor)
  })
}

function compareTensors(plan: Plan, output: Checkpoint): string[] {
  const planned = new Map(plan.shards.flatMap((shard) => shard.tensors.map((tensor) => [tensor.name, tensor])))
  const differences: string[] = []
  for (const [name, tensor] of planned) {
    const found = output.tensors.get(name)
    if (found === undefined) differences.push(`tensor ${quote(name)} is missing`)
    else if (form(found) !== form(tensor)) {
      differences.push(`tensor ${quote(name)} has another form (expected ${form(tensor)}, found ${form(found)})`)
    }
  }
  for (const name of output.tensors.keys()) {
    if (!planned.has(name)) differences.push(`tensor ${quote(name)} is not in the source`)
  }
  return differences
}

function form({ dtype, shape }: Pick<StoredTensor, "dtype" | "shape">): string {
  return `${dtype} ${formatShape(shape)}`
}

function sameForm(a: Plan, b: Plan): boolean {
  const list = (plan: Plan) =>
    plan.shards.flatMap((shard) =>
      shard.tensors.map(({ name, origin }) => `${name} ${origin.kind === "weight" && origin.transposed}`),
    )
  return a === b || list(a).join("\n") === list(b).join("\n")
}

function shorten(differences: readonly string[]): string[] {
  if (differences.length <= PROBLEMS_MAX) return [...differences]
  const more = `and ${formatPlural(differences.length - PROBLEMS_MAX, "more difference")}`
  return [...differences.slice(0, PROBLEMS_MAX), more]
}

/** The files of the output with the plan's tensors at the places that they have there. All forms must be as planned. */
export function outputTargets(plan: Plan, output: Checkpoint): TargetFile[] {
  const planned = new Map(plan.shards.flatMap((shard) => shard.tensors.map((tensor) => [tensor.name, tensor])))
  return output.shards.map(({ file, tensors }) => ({
    path: file.path,
    size: file.size,
    head: new Uint8Array(),
    tensors: tensors.map(({ name, offset }) => ({ ...planned.get(name)!, offset })),
  }))
}
