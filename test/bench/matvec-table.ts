/** README's table of products. */
import type { MachineLabel } from "./machine.ts"
import type { MatvecBenchResult } from "./matvec.ts"

/** Others, by the names that the bench gives them. */
const OTHERS = [
  ["float", "float arithmetic"],
  ["ggml repack", "ggml, repacked for this CPU (llama-cpp-python 0.3.36)"],
  ["ggml plain", "ggml, plain layout"],
  ["torch bf16", "torch 2.15, BF16 weight that is dense already"],
  ["torch expand", "torch, expanded as gpt-oss does it, then multiplied"],
] as const

const LARGE_ROWS = 65536
const CACHED_ROWS = 3072

function gigabytes(rate: number): string {
  return (rate / 1e9).toFixed(1)
}

/** Two digits are what a busy machine's figures are worth. */
function ratioText(ratio: number): string {
  return ratio < 10 ? ratio.toFixed(1) : `${Number(ratio.toPrecision(2))}`
}

/** Markdown, and on what machine; undefined where a column has not been measured. */
export function matvecTable(machine: MachineLabel, results: readonly MatvecBenchResult[]): string | undefined {
  const find = (rows: number, isOne: boolean) =>
    results.find((one) => one.experts === 1 && one.rows === rows && (one.threads === 1) === isOne)
  const [one, all, cached] = [find(LARGE_ROWS, true), find(LARGE_ROWS, false), find(CACHED_ROWS, true)]
  if (one === undefined || all === undefined || cached === undefined) return undefined
  const own = (result: MatvecBenchResult) => result.contenders.find(({ name }) => name === "int8")!
  const rate = (result: MatvecBenchResult) => own(result).bytes / own(result).medianSeconds
  const line = (...cells: readonly string[]) => `| ${cells.join(" | ")} |`
  const share = (result: MatvecBenchResult, read: number) => `${gigabytes(read)}; ${(rate(result) / read).toFixed(2)}`
  const compared = (result: MatvecBenchResult, name: string) => {
    const other = result.contenders.find((contender) => contender.name === name)
    return other === undefined ? "–" : ratioText(other.medianSeconds / own(result).medianSeconds)
  }
  const lines = [
    line("", `${LARGE_ROWS} × 2880, 1 core`, `${all.threads} cores`, `${CACHED_ROWS} × 2880 (in cache), 1 core`),
    line("---", "---", "---", "---"),
    line("this program: packed GB/s", ...[one, all, cached].map((result) => gigabytes(rate(result)))),
    line(
      "memory read in a plain loop, GB/s; share of it",
      ...[one, all].map((result) => share(result, result.readPlain)),
      "–",
    ),
    line(
      "memory read in four runs side by side, GB/s; share of it",
      ...[one, all].map((result) => share(result, result.readInterleaved)),
      "–",
    ),
    ...OTHERS.map(([name, text]) => line(text, ...[one, all, cached].map((result) => compared(result, name)))),
  ]
  return `${lines.join("\n")}\n\n${machine.cpu}, ${machine.cores} cores, ${machine.level}, commit ${machine.commit}.\n`
}
