/** README's table of conversions, made of what `npm run bench -- convert` has kept. */
import { CONVERT_CASE_NAMES, CONVERT_CASES, CONVERT_PLACES } from "./convert-cases.ts"
import type { KeptConvert } from "./convert-results.ts"

const HEAD = [
  "| checkpoint | read → written | this program | `cp` of the output | ratio | others: times as long, peak memory | peak memory |",
  "| --- | --- | --- | --- | --- | --- | --- |",
]

/** Lines of Markdown, in the order of the cases whatever that of the results. */
export function convertTable(results: readonly KeptConvert[]): string {
  const rows = CONVERT_PLACES.flatMap((place) =>
    CONVERT_CASE_NAMES.flatMap((name) => results.filter((result) => result.case === name && result.place === place)),
  )
  return [...HEAD, ...rows.map(row), ""].join("\n")
}

function row(result: KeptConvert): string {
  const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(2)
  const peers = result.peers.map(
    ({ name, ratio, peakRss }) => `${name} ${ratio.toFixed(1)}, ${(peakRss / 1e9).toFixed(1)} GB`,
  )
  const device = result.device === undefined ? [] : [`\`dd\` of zeros ${result.device.median.toFixed(2)} s`]
  const cells = [
    `${CONVERT_CASES[result.case].title}${result.place === "disk" ? ", disk with fsync" : ""}`,
    `${gigabytes(result.bytesIn)} → ${gigabytes(result.bytesOut)} GB`,
    `${result.convert.median.toFixed(2)} s`,
    `${result.copy.median.toFixed(2)} s`,
    result.ratio.toFixed(2),
    [...peers, ...device].join("; ") || "–",
    result.memory
      .map(({ peakRss }) => Math.round(peakRss / 1e6))
      .join(" → ")
      .concat(" MB"),
  ]
  return `| ${cells.join(" | ")} |`
}
