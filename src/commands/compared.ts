/** How much of an output was compared, in words. */
import { formatCount } from "../format.ts"
import type { VerifyReport } from "../writer/types.ts"

/** "all 417 k elements and copied bytes with the scalar decoder's", "1.05 M of 20.9 B …". */
export function comparedText({ elementsCompared, elementsTotal }: VerifyReport): string {
  const all = elementsCompared === elementsTotal
  const share = all
    ? `all ${formatCount(elementsTotal)}`
    : `${formatCount(elementsCompared)} of ${formatCount(elementsTotal)}`
  return `${share} elements and copied bytes with the scalar decoder's`
}
