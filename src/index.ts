/**
 * The TypeScript API: open a checkpoint, see what is in it, plan its conversion, run the plan, verify the result.
 *
 *     const checkpoint = await openCheckpoint("gpt-oss-20b/")
 *     const plan = planConversion(checkpoint, { to: "BF16" })
 *     const report = await runPlan(plan, { output: "gpt-oss-20b-bf16/", onProgress: console.log })
 *
 * and multiply with a weight as it is stored:
 *
 *     using w = await loadMatrix(checkpoint, "model.layers.0.mlp.experts.down_proj", { expert: 3 })
 *     const y = w.multiply(x, undefined, { activation: "silu" })
 *
 * Sizes and offsets are bytes, times seconds, shapes count elements. Every fault of a file, the machine or the
 * arguments is a DequantizerError with an `exitCode` and, where there is a way on, a `hint`.
 */
export type {
  Checkpoint,
  CheckpointIndex,
  DeclaredQuantization,
  SideFile,
} from "./checkpoint/checkpoint.ts"
export { openCheckpoint } from "./checkpoint/open.ts"
export type { ContainerFile, SourceFile, StoredTensor } from "./containers/container.ts"
export { DENSE_DTYPES, type DenseDtype, type Dtype } from "./containers/dtype.ts"
export {
  CancelledError,
  CheckError,
  DequantizerError,
  ExitCode,
  IoError,
  MalformedError,
  RefusedError,
  UnsupportedError,
  UsageError,
} from "./errors.ts"
export { type LoadOptions, loadMatrix } from "./matrix/load.ts"
export type {
  ActivationName,
  ArithmeticName,
  Matrix,
  MatrixFacts,
  MultiplyOptions,
  Share,
} from "./matrix/matrix.ts"
export { type MachineInfo, machineInfo, selectLevel } from "./native/machine.ts"
export { planConversion } from "./plan/conversion.ts"
export { describePlan, type PlanFacts, type PlanSummary, summarizePlan } from "./plan/describe.ts"
export { type MeasureOptions, measurePlan } from "./plan/measure.ts"
export { type Part, partOf } from "./plan/part.ts"
export type { OutputShard, OutputTensor, Plan, PlanOptions } from "./plan/plan.ts"
export { formatRows, takeInventory } from "./schemes/index.ts"
export type { FormatRow, Inventory, Weight, WeightSource } from "./schemes/scheme.ts"
export { describeMismatch } from "./writer/compare.ts"
export { finishParts } from "./writer/finish.ts"
export { freeBytes } from "./writer/place.ts"
export { runPlan } from "./writer/run.ts"
export type {
  ConversionReport,
  FinishOptions,
  FinishReport,
  IoModeChoice,
  Mismatch,
  RunOptions,
  RunProgress,
  VerifyOptions,
  VerifyReport,
  WorkOptions,
} from "./writer/types.ts"
export { verifyOutput } from "./writer/verify.ts"
