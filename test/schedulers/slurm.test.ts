/** README's Slurm array on a real cluster of one machine: a task is killed, submitted again, and the end waits for all. */
import { expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { KILLED, PARTS, recipes, sharedFolder } from "./recipes.ts"
import { startSlurm, whyNoSlurm } from "./slurm.ts"

const reason = whyNoSlurm()
if (reason !== undefined) console.log(`Slurm: not tried, ${reason}`)

test.skipIf(reason !== undefined)(
  "a Slurm array of parts, one killed and submitted again",
  async () => {
    using shared = sharedFolder()
    await using slurm = await startSlurm()
    const { slurm: script, submit } = recipes(shared.folder.path)
    writeFileSync(shared.folder.file("parts.sbatch"), script)
    const environment = { PATH: `${shared.bin}:${process.env.PATH}` }
    const inShared = async (text: string) => await slurm.shell(`cd ${shared.folder.path}\n${text}`, environment)
    const states = async (job: string): Promise<Record<string, string>> => {
      const { stdout } = await slurm.shell(`scontrol show job ${job} --oneliner`, {})
      const lines = stdout.split("\n").filter((line) => line !== "")
      return Object.fromEntries(
        lines.map((line) => [/ArrayTaskId=(\S+)/.exec(line)?.[1] ?? "", /JobState=(\S+)/.exec(line)?.[1] ?? ""]),
      )
    }
    const first = await inShared(`sbatch --parsable parts.sbatch`)
    expect(first.stderr).toBe("")
    await slurm.settle()
    const all = Array.from({ length: PARTS }, (_, i) => i + 1)
    const expected = all.map((task) => [String(task), task === KILLED ? "FAILED" : "COMPLETED"])
    expect(await states(first.stdout.trim())).toEqual(Object.fromEntries(expected))
    expect(shared.killedStatus()).toBe("137")
    const early = await inShared(`dequantizer finish ${shared.output}`)
    expect(early.stderr).toContain(`part ${KILLED}/${PARTS} is not done`)
    expect(early.exitCode).toBe(6)
    const again = await inShared(`sbatch --parsable --array=${KILLED} parts.sbatch`)
    await slurm.settle()
    expect(await states(again.stdout.trim())).toEqual({ [KILLED]: "COMPLETED" })
    // As README says it, from the start: parts that are done do nothing again, and the end waits for them.
    expect(await inShared(submit)).toMatchObject({ stderr: "", exitCode: 0 })
    await slurm.settle()
    expect(shared.differences()).toEqual([])
  },
  300_000,
)
