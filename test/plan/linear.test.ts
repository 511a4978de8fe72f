/** What opening and planning cost is linear in the tensors: counted, as times say little on a machine that is shared. */
import { expect, test } from "bun:test"
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts"
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import type { StoredTensor } from "../../src/containers/container.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import { encodePlan } from "../../src/plan/encode.ts"
import { writeManyTensors } from "../fixtures/many-tensors.ts"
import { temporaryFolder } from "../support/checkpoints.ts"

interface Counts {
  /** Looks at a property of a stored tensor. */
  looks: number
  /** Names that were looked up among all tensors. */
  lookups: number
}

/** The same checkpoint, with tensors that count who looks at them. */
function counted(checkpoint: Checkpoint, counts: Counts): Checkpoint {
  const handler: ProxyHandler<StoredTensor> = {
    get(tensor, key, receiver) {
      counts.looks += 1
      return Reflect.get(tensor, key, receiver)
    },
  }
  const proxies = new Map([...checkpoint.tensors.values()].map((tensor) => [tensor, new Proxy(tensor, handler)]))
  class Counted extends Map<string, StoredTensor> {
    override get(name: string): StoredTensor | undefined {
      counts.lookups += 1
      return super.get(name)
    }
  }
  const shards = checkpoint.shards.map((shard) => ({
    ...shard,
    tensors: shard.tensors.map((one) => proxies.get(one)!),
  }))
  const tensors = new Counted([...checkpoint.tensors].map(([name, tensor]) => [name, proxies.get(tensor)!]))
  return { ...checkpoint, shards, tensors }
}

async function countsOf(tensors: number, shards: number): Promise<Counts> {
  using folder = temporaryFolder()
  writeManyTensors(folder.file("in"), tensors, shards)
  const counts = { looks: 0, lookups: 0 }
  const plan = planConversion(counted(await openCheckpoint(folder.file("in")), counts))
  expect(plan.shards).toHaveLength(shards)
  expect(encodePlan(plan.shards.map((shard) => ({ ...shard, path: shard.name }))).stepCount).toBe(tensors / 2)
  return counts
}

test("four times as many tensors are looked at four times as often", async () => {
  const [few, many] = [await countsOf(600, 3), await countsOf(2400, 12)]
  expect(few.looks).toBeGreaterThan(600)
  expect(many.looks).toBeLessThanOrEqual(4 * few.looks)
  expect(many.lookups).toBeLessThanOrEqual(4 * few.lookups)
  // Each weight asks for its scales, and a few of another name.
  expect(many.lookups).toBeLessThanOrEqual(4 * 2400)
})
