/**
 * A part of a conversion: every N-th shard from the I-th, so that several machines can make one output. Which shards
 * these are depends on the plan alone. The first part also makes the small files: config, index, and what travels along.
 */
import { UsageError } from "../errors.ts"
import { formatInteger, formatPlural } from "../format.ts"
import type { Plan } from "./plan.ts"
import { totalsOf } from "./totals.ts"

/** More parts than shards of any model. */
const COUNT_MAX = 100_000

export interface Part {
  /** From 1. */
  readonly index: number
  readonly count: number
}

/** "2/8". */
export function partText({ index, count }: Part): string {
  return `${index}/${count}`
}

/** Reads "2/8"; `name` is what messages call the option. Throws UsageError. */
export function parsePart(text: string, name: string): Part {
  const [, index, count] = /^([0-9]{1,6})\/([0-9]{1,6})$/.exec(text) ?? []
  const part = { index: Number(index), count: Number(count) }
  if (isPart(part)) return part
  throw new UsageError(`${name}: "${text}" is not I/N with I from 1 to N, and N at most ${COUNT_MAX}`)
}

function isPart({ index, count }: Part): boolean {
  return Number.isSafeInteger(index) && index >= 1 && index <= count && count <= COUNT_MAX
}

/**
 * The plan of one part. It has none of the small files unless it is the first; bytes are those of the part. Throws
 * UsageError where the output is a file, or the part is none.
 */
export function partOf(plan: Plan, part: Part): Plan {
  if (plan.kind === "file") {
    throw new UsageError("--part needs a folder: an output file is one shard", {
      hint: "put the file in a folder of its own and convert the folder with --shard-size",
    })
  }
  if (!isPart(part)) throw new UsageError(`part ${partText(part)} is none: it goes from 1/N to N/N`)
  const shards = plan.shards.filter((_, i) => i % part.count === part.index - 1)
  const small =
    part.index === 1
      ? { config: plan.config, index: plan.index, textFiles: plan.textFiles, sideFiles: plan.sideFiles }
      : { config: undefined, index: undefined, textFiles: [], sideFiles: [] }
  return { ...plan, ...small, shards, ...totalsOf(shards, small), partial: { part, whole: plan } }
}

/** "2/4: 3 of 12 shards"; undefined where the plan is that of the whole output. */
export function describePart({ partial, shards }: Plan): string | undefined {
  if (partial === undefined) return undefined
  const { part, whole } = partial
  return `${partText(part)}: ${formatInteger(shards.length)} of ${formatPlural(whole.shards.length, "shard")}`
}
