/** `npm start`: builds the executable and shows its main job on the bundled sample: inspect, convert, verify. */
import { join, relative } from "node:path"
import { buildExecutable } from "./executable.ts"
import { root, run, runMain } from "./project.ts"

const sample = "test/fixtures/tiny-gpt-oss"
const output = "dist/tiny-gpt-oss-bf16"

await runMain(async () => {
  const program = relative(root, await buildExecutable())
  const steps = [
    ["inspect", sample],
    ["convert", sample, "-o", output, "--force"],
    ["verify", output, "--source", sample, "--full"],
  ]
  for (const args of steps) {
    process.stdout.write(`\n$ ${program} ${args.join(" ")}\n`)
    const code = await run([join(root, program), ...args])
    if (code !== 0) return code
  }
  process.stdout.write(
    [
      "",
      "What happened",
      `  ${sample} is a small gpt-oss checkpoint: its experts are MXFP4, everything else is BF16.`,
      "  inspect read the headers only. convert decoded every expert weight to BF16, in the orientation that",
      "  transformers loads, and copied the rest. verify decoded everything again with the scalar code and compared",
      `  each element with ${output}.`,
      `  Your own model: ${program} convert <file or folder> -o <file or folder>`,
      "",
    ].join("\n"),
  )
  return 0
})
