/** A conversion that replaces an output and kills itself when all shards are written: killed.ts <input> <output>. */
import { openCheckpoint } from "../../src/checkpoint/open.ts"
import { planConversion } from "../../src/plan/conversion.ts"
import { runPlan } from "../../src/writer/run.ts"

const [input = "", output = ""] = process.argv.slice(2)
const plan = planConversion(await openCheckpoint(input), { shardSize: 20_000 })
await runPlan(plan, {
  output,
  force: true,
  onProgress: ({ phase }) => {
    if (phase === "finish") process.kill(process.pid, "SIGKILL")
  },
})
