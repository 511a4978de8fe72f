/** `npm run check`: formatter, linter, types and generated files; everything short of running tests. */
import { join } from "node:path"
import { root, run, runMain } from "./project.ts"
import { findZig } from "./zig.ts"

await runMain(async () => {
  const zig = await findZig()
  const bin = (name: string) => join(root, "node_modules", ".bin", name)
  const checks: readonly [string, readonly string[], Record<string, string>?][] = [
    ["formatting and lint (biome)", [bin("biome"), "check", "--error-on-warnings", "."]],
    ["types (tsc)", [bin("tsc"), "--noEmit"]],
    ["formatting (zig fmt)", [zig, "fmt", "--check", "build.zig", "kernels"]],
    // With CI set the step compares instead of rewriting.
    ["generated boundary (zig build abi)", [zig, "build", "abi"], { CI: "1" }],
  ]
  let failed = 0
  for (const [name, command, environment] of checks) {
    const code = await run(command, environment)
    process.stderr.write(`check: ${name}: ${code === 0 ? "ok" : "FAILED"}\n`)
    if (code !== 0) failed += 1
  }
  return failed === 0 ? 0 : 1
})
