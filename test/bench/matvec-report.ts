/** What the bench of products prints, and what README.md has of it. */

import type { MatvecBenchResult } from "./matvec.ts"
import type { MatvecShape } from "./matvec-contenders.ts"

/** How int8 products grow from one thread to all, beside what memory lets them: 1 is all that there is to have. */
export function describeScaling(results: readonly MatvecBenchResult[]): string[] {
  return results.flatMap((all) => {
    if (all.threads === 1) return []
    const same = ({ experts, rows, columns }: MatvecShape) =>
      experts === all.experts && rows === all.rows && columns === all.columns
    const one = results.find((result) => result.threads === 1 && same(result))
    if (one === undefined) return []
    const [single] = one.contenders
    const [own] = all.contenders
    const grown = single!.medianSeconds / own!.medianSeconds
    const limit = Math.max(all.readPlain, all.readInterleaved) / (single!.bytes / single!.medianSeconds)
    const share = grown / Math.min(all.threads, limit)
    const times = `${grown.toFixed(2)} × from 1 to ${all.threads} threads`
    return [`${shapeText(all)}: ${times}, ${share.toFixed(2)} of min(threads, memory's limit / one thread's rate)`]
  })
}

function shapeText({ experts, rows, columns }: MatvecShape): string {
  return `${experts > 1 ? `${experts} × ` : ""}${rows} × ${columns}`
}

/** The result in lines for people. */
export function describeMatvec(result: MatvecBenchResult): string[] {
  const rate = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB/s`
  const [own] = result.contenders
  const threads = result.threads === 1 ? "1 thread" : `${result.threads} threads`
  const reads = `reading ${rate(result.readPlain)} plain, ${rate(result.readInterleaved)} in four runs`
  const lines = result.contenders.map(({ name, bytes, medianSeconds, gigaflops, call }) => {
    const time = `${(medianSeconds * 1e6).toFixed(0)} µs`.padStart(12)
    const compared = (medianSeconds / own!.medianSeconds).toFixed(2)
    const called =
      call === undefined ? "" : `  a call ${(call.median * 1e6).toFixed(0)} µs, p99 ${(call.p99 * 1e6).toFixed(0)}`
    const rates = `${rate(bytes / medianSeconds).padStart(12)}${`${gigaflops.toFixed(1)} Gflop/s`.padStart(16)}`
    return `  ${name.padEnd(16)}${time}${rates}${compared.padStart(9)} × int8${called}`
  })
  return [
    `${shapeText(result)}, ${threads}, ${result.level}: ${reads}`,
    ...lines,
    ...(result.left === undefined ? [] : [`  no peers: ${result.left}`]),
  ]
}
