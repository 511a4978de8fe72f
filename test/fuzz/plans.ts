/**
 * Conversions of random checkpoints with random options, each tensor of the output compared with what a slow and obvious
 * decoder gives (support/reference.ts), and the layout with what it must be.
 */
import { readdirSync, readFileSync, rmSync } from "node:fs"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import type { PlanOptions } from "../../src/plan/plan.ts"
import { runPlan } from "../../src/writer/run.ts"
import { temporaryFolder, writeCheckpointFolder } from "../support/checkpoints.ts"
import { compressedTensorsTensors, denseTensors, gptOssOriginalTensors, gptOssTensors } from "../support/models.ts"
import { differences, expectedOutput, type ReadTensor, readSafetensors } from "../support/reference.ts"

type Random = () => number

const KINDS = [gptOssTensors, gptOssOriginalTensors, compressedTensorsTensors, () => denseTensors()] as const

export interface PlanCounts {
  plans: number
  tensors: number
  bytes: number
}

export async function fuzzPlans(count: number, next: Random): Promise<PlanCounts> {
  const counts: PlanCounts = { plans: 0, tensors: 0, bytes: 0 }
  using folder = temporaryFolder("dequantizer-fuzz-")
  for (let i = 0; i < count; i += 1) {
    await onePlan(folder.file(`in-${i}`), folder.file(`out-${i}`), next, counts)
    for (const name of readdirSync(folder.path)) rmSync(folder.file(name), { recursive: true })
  }
  return counts
}

async function onePlan(input: string, output: string, next: Random, counts: PlanCounts): Promise<void> {
  const pick = <T>(values: readonly T[]): T => values[next() % values.length]!
  const tensors = pick(KINDS)({
    layers: 1 + (next() % 3),
    experts: 1 + (next() % 4),
    hidden: 32 * (1 + (next() % 4)),
    intermediate: 32 * (1 + (next() % 4)),
    vocabulary: 1 + (next() % 40),
    wildScales: next() % 3 === 0,
  })
  const shards: Record<string, typeof tensors> = {}
  const shardCount = 1 + (next() % 4)
  for (const tensor of tensors) {
    const name = `model-${1 + (next() % shardCount)}.safetensors`
    shards[name] = [...(shards[name] ?? []), tensor]
  }
  writeCheckpointFolder(input, { shards, ...(next() % 2 === 0 ? { index: {} } : {}) })
  const options: Partial<PlanOptions> = {
    to: pick(["BF16", "F16", "F32"] as const),
    castAll: pick([true, false]),
    layout: pick(["auto", "raw"] as const),
    shardSize: pick(["keep", "single", 1, 5000, 100_000] as const),
  }
  const plan = planConversion(await openCheckpoint(input), options)
  await runPlan(plan, {
    output,
    verify: "full",
    threads: 1 + (next() % 4),
    io: pick(["auto", "mmap", "pread", "direct"] as const),
    maxMemory: pick([2 ** 18, 2 ** 22, 2 ** 30]),
  })
  const found = readAll(output, options.shardSize)
  const expected = expectedOutput(tensors, {
    to: options.to!,
    castAll: options.castAll!,
    raw: options.layout === "raw",
  })
  const wrong = differences(found, expected)
  if (wrong.length > 0) throw new Error(`${JSON.stringify(options)}: ${wrong.slice(0, 3).join("; ")}`)
  counts.plans += 1
  counts.tensors += found.size
  counts.bytes += plan.bytesOut
}

/** All tensors; each is in one file, and files are no larger than was asked for unless they hold one tensor. */
function readAll(output: string, shardSize: PlanOptions["shardSize"] | undefined): Map<string, ReadTensor> {
  const all = new Map<string, ReadTensor>()
  const names = readdirSync(output)
  const shards = names.filter((name) => name.endsWith(".safetensors"))
  if (shardSize === "single" && shards.length !== 1) throw new Error(`${shards.length} files instead of one`)
  for (const shard of shards) {
    const tensors = readSafetensors(`${output}/${shard}`)
    const bytes = [...tensors.values()].reduce((sum, tensor) => sum + tensor.bytes.length, 0)
    const filled = [...tensors.values()].filter((tensor) => tensor.bytes.length > 0).length
    if (typeof shardSize === "number" && filled > 1 && bytes > shardSize)
      throw new Error(`${shard} holds ${bytes} bytes`)
    for (const [name, tensor] of tensors) {
      if (all.has(name)) throw new Error(`tensor ${name} is in two files`)
      all.set(name, tensor)
    }
  }
  const index = names.find((name) => name.endsWith(".index.json"))
  if (index !== undefined) {
    const map = (JSON.parse(readFileSync(`${output}/${index}`, "utf8")) as { weight_map: Record<string, string> })
      .weight_map
    if (Object.keys(map).length !== all.size) throw new Error("the index lists other tensors")
  } else if (shards.length > 1 && shardSize !== "keep") throw new Error("no index")
  return all
}
