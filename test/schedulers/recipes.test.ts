/**
 * README's recipes for several machines, run as they stand there: a part is killed at work, and what comes of it all is the
 * output of a single run. GNU parallel runs where it is installed; the command of the Kubernetes Job is run as each of
 * its pods would.
 */
import { expect, test } from "bun:test"
import { readdirSync } from "node:fs"
import { plainEnvironment, runCommand } from "../cli/program.ts"
import { KILLED, PARTS, recipes, type SharedFolder, sharedFolder } from "./recipes.ts"

async function shell(script: string, { bin, folder }: SharedFolder, more: Record<string, string> = {}) {
  const { PATH = "", ...rest } = plainEnvironment(more)
  return await runCommand(["sh", "-ec", script], {
    cwd: folder.path,
    env: { ...rest, PATH: `${bin}:${PATH}`, HOME: bin },
  })
}

const hasGnuParallel = (await runCommand(["sh", "-c", "parallel --version | grep -q GNU"])).exitCode === 0
if (!hasGnuParallel) console.log("GNU parallel: not tried, it is not installed (Debian: parallel)")

test.skipIf(!hasGnuParallel)(
  "GNU parallel",
  async () => {
    using shared = sharedFolder()
    const { stdout, exitCode } = await shell(recipes(shared.folder.path).parallel, shared)
    expect(exitCode).toBe(0)
    expect(shared.killedStatus()).toBe("137")
    expect(stdout).toContain(`part      ${KILLED}/${PARTS}: `)
    expect(shared.differences()).toEqual([])
  },
  120_000,
)

interface Job {
  readonly kind: string
  readonly spec: {
    readonly completionMode: string
    readonly completions: number
    readonly template: { readonly spec: { readonly containers: readonly { readonly command: readonly string[] }[] } }
  }
}

test("a Kubernetes Indexed Job", async () => {
  using shared = sharedFolder()
  const job = Bun.YAML.parse(recipes(shared.folder.path).kubernetes) as Job
  expect(job).toMatchObject({ kind: "Job", spec: { completionMode: "Indexed", completions: PARTS } })
  const [sh = "", option = "", script = ""] = job.spec.template.spec.containers[0]!.command
  expect([sh, option]).toEqual(["sh", "-c"])
  // The wrapper that is killed stands in for the program on the volume.
  const command = script.replaceAll(`${shared.folder.path}/dequantizer`, "dequantizer")
  const pod = async (index: number) => await shell(command, shared, { JOB_COMPLETION_INDEX: String(index) })
  const first = await Promise.all(Array.from({ length: PARTS }, (_, index) => pod(index)))
  expect(first.map(({ exitCode }) => exitCode)).toEqual(first.map((_, index) => (index === KILLED - 1 ? 137 : 0)))
  expect(shared.killedStatus()).toBe("137")
  const early = await shell(`dequantizer finish ${shared.output}`, shared)
  expect(early.stderr).toMatch(new RegExp(`: part ${KILLED}/${PARTS} is not done; `))
  expect(early.exitCode).toBe(6)
  // Every pod of the job once more, as a controller may that has lost its state.
  for (let index = 0; index < PARTS; index += 1) expect((await pod(index)).exitCode).toBe(0)
  const late = await shell(`dequantizer finish ${shared.output}`, shared)
  expect(late).toMatchObject({ stderr: "", exitCode: 0 })
  expect(shared.differences()).toEqual([])
  expect(readdirSync(shared.output).filter((name) => name.startsWith("."))).toEqual([])
}, 120_000)
