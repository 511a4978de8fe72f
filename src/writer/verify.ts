/**
 * Checking a converted checkpoint: against the source that it was made from, or its own structure where there is
 * none.
 */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import { openCheckpoint } from "../checkpoint/open.ts"
import { elementCount } from "../containers/dtype.ts"
import { UsageError } from "../errors.ts"
import { declaredQuantization } from "../plan/config.ts"
import type { Plan } from "../plan/plan.ts"
import { takeInventory } from "../schemes/index.ts"
import { compareTargets, SAMPLE_TILES } from "./compare.ts"
import { inferPlans, outputTargets } from "./infer.ts"
import { throwIfCancelled } from "./job.ts"
import { smallFileProblems } from "./small-files.ts"
import type { VerifyOptions, VerifyReport } from "./types.ts"
import { checkManifest, type ManifestCheck } from "./verify-manifest.ts"

/**
 * Verifies an output.
 *
 * With a source, the source's weights are decoded again by the scalar code and compared bit for bit, its other
 * tensors byte for byte; dtype and layout are read off the output. With a sample of "all", config.json, metadata and the
 * other files of the model are compared too. Without a source, headers, tiling, index and config are checked. With
 * `manifest`, before all that, every file is hashed and compared with it.
 *
 * What differs is in the report. Throws MalformedError, UnsupportedError and IoError where a checkpoint cannot be
 * opened or read, CancelledError when the signal fires.
 */
export async function verifyOutput(output: string, options: VerifyOptions = {}): Promise<VerifyReport> {
  const started = performance.now()
  const sampleTiles = tilesOf(options.sample)
  throwIfCancelled(options.signal)
  // First of all: damage that a header, or the index, would be refused for is told as what it is.
  const manifest = options.manifest ? await checkManifest(output, options) : undefined
  if (manifest !== undefined && manifest.problems.length > 0) return manifestReport(manifest, started)
  const checkpoint = await openCheckpoint(output)
  const report =
    options.source === undefined
      ? structureReport(checkpoint)
      : await compareWith(await openCheckpoint(options.source), checkpoint, sampleTiles, options)
  return { ...report, manifest, seconds: (performance.now() - started) / 1000 }
}

function manifestReport(manifest: ManifestCheck, started: number): VerifyReport {
  return {
    ok: false,
    problems: manifest.problems,
    tensors: manifest.tensors,
    elementsCompared: 0,
    elementsTotal: 0,
    mismatchCount: 0,
    first: undefined,
    manifest,
    seconds: (performance.now() - started) / 1000,
  }
}

function tilesOf(sample: VerifyOptions["sample"]): number {
  if (sample === "all") return 0
  const tiles = sample ?? SAMPLE_TILES
  if (!Number.isSafeInteger(tiles) || tiles < 1 || tiles > 0xffff_ffff) {
    throw new UsageError(`sample of ${tiles} tiles is not a positive whole number`)
  }
  return tiles
}

/** Opening has checked headers, tiling and index; what is left is what the config and the tensors say of each other. */
function structureReport(checkpoint: Checkpoint): VerifyReport {
  return reportOf(checkpoint, takeInventory(checkpoint, { missingScale: "copy" }).disagreements)
}

async function compareWith(
  source: Checkpoint,
  output: Checkpoint,
  sampleTiles: number,
  options: VerifyOptions,
): Promise<VerifyReport> {
  const candidates = inferPlans(source, output)
  const [likeliest] = candidates
  const problems = [...likeliest!.problems, ...configProblems(likeliest!.plan, output)]
  // With differences of the tensors the plan is a guess, and so are its other files.
  if (problems.length === 0 && sampleTiles === 0) problems.push(...(await smallFileProblems(likeliest!.plan, output)))
  if (problems.length > 0) return reportOf(output, problems)
  // Where only values can tell layouts apart, the one that compares is meant; if none does, the likeliest is reported.
  let first: VerifyReport | undefined
  for (const { plan } of candidates) {
    const report = await compareTargets(outputTargets(plan, output), sampleTiles, options)
    if (report.ok) return report
    first ??= report
  }
  return first!
}

function configProblems(plan: Plan, output: Checkpoint): string[] {
  if (output.config === undefined || plan.keptWeights.length > 0) return []
  return declaredQuantization(output.config).map((key) => `config.json declares ${key}, and no tensor is quantized`)
}

function reportOf(checkpoint: Checkpoint, problems: readonly string[]): VerifyReport {
  const tensors = [...checkpoint.tensors.values()]
  return {
    ok: problems.length === 0,
    problems,
    tensors: tensors.length,
    elementsCompared: 0,
    elementsTotal: tensors.reduce((count, tensor) => count + elementCount(tensor.shape)!, 0),
    mismatchCount: 0,
    first: undefined,
    seconds: 0,
  }
}
