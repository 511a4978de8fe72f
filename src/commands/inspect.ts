/** `inspect`: what a checkpoint holds, from its headers alone. */

import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import { openCheckpoint } from "../checkpoint/open.ts"
import type { StoredTensor } from "../containers/container.ts"
import { escapeText } from "../containers/quote.ts"
import { CheckError } from "../errors.ts"
import {
  formatBits,
  formatBytes,
  formatBytesExact,
  formatCount,
  formatInteger,
  formatPlural,
  formatShape,
} from "../format.ts"
import { compileGlobs } from "../plan/glob.ts"
import { compareNatural } from "../plan/order.ts"
import { command } from "../ui/command.ts"
import { choice, flag, list, type OptionValues } from "../ui/option.ts"
import { renderFacts, renderTable } from "../ui/table.ts"
import { type Palette, print, printLines, stdoutIsTerminal, terminalWidth } from "../ui/terminal.ts"
import { denseDtypeOption } from "./dtype-option.ts"
import { type ContentRow, type Survey, surveyCheckpoint } from "./survey.ts"

const options = {
  to: denseDtypeOption("dtype for the size of the output"),
  strict: flag({ help: "exit 1 when there are findings" }),
  tensors: flag({ group: "List", help: "list the stored tensors too" }),
  include: list({ group: "List", value: "GLOB", help: "list only tensors whose name matches; repeatable" }),
  exclude: list({ group: "List", value: "GLOB", help: "list no tensor whose name matches; repeatable" }),
  sort: choice({ group: "List", choices: ["offset", "name", "size"], initial: "offset", help: "order of the list" }),
} as const

type Values = OptionValues<typeof options>

/** The tensors that the list options choose, in their order. */
function listedTensors(survey: Survey, values: Values): readonly StoredTensor[] | undefined {
  if (!values.tensors && values.include.length === 0 && values.exclude.length === 0) return undefined
  const included = compileGlobs(values.include, true)
  const excluded = compileGlobs(values.exclude, false)
  const tensors = [...survey.checkpoint.tensors.values()].filter(({ name }) => included(name) && !excluded(name))
  if (values.sort === "name") return tensors.sort((a, b) => compareNatural(a.name, b.name))
  if (values.sort === "size") return tensors.sort((a, b) => b.size - a.size || compareNatural(a.name, b.name))
  return tensors
}

function contentJson(row: ContentRow): unknown {
  return {
    ...(row.quantized ? { scheme: row.name, weights: row.count } : { dtype: row.name, tensors: row.count }),
    parameters: row.parameters,
    bytes_stored: row.bytesStored,
    bytes_dense: row.bytesDense,
    ...(row.quantized ? { bits_per_weight: bitsPerWeight(row) } : {}),
  }
}

function toJson(survey: Survey, listed: readonly StoredTensor[] | undefined): unknown {
  const { checkpoint } = survey
  return {
    schema: 1,
    path: checkpoint.path,
    kind: checkpoint.kind,
    architecture: survey.architecture ?? null,
    declared:
      checkpoint.declared === undefined
        ? null
        : { method: checkpoint.declared.method, origin: checkpoint.declared.origin },
    parameters: survey.parameters,
    tensors: checkpoint.tensors.size,
    tensor_bytes: checkpoint.tensorBytes,
    file_bytes: survey.fileBytes,
    files: checkpoint.shards.map(({ file, tensors }) => ({
      name: file.name,
      bytes: file.size,
      tensors: tensors.length,
    })),
    quantized: survey.content.filter((row) => row.quantized).map(contentJson),
    plain: survey.content.filter((row) => !row.quantized).map(contentJson),
    dropped: survey.dropped,
    left_out: checkpoint.leftOut,
    to: survey.to.toLowerCase(),
    bytes_out: survey.bytesOut ?? null,
    findings: survey.findings,
    problem: survey.problem === undefined ? null : survey.problem.message,
    ...(listed === undefined
      ? {}
      : {
          tensor_list: listed.map(({ name, dtype, shape, size, file, offset }) => ({
            name,
            dtype,
            shape,
            bytes: size,
            file: file.name,
            offset,
          })),
        }),
  }
}

function bitsPerWeight(row: ContentRow): number {
  return row.parameters === 0 ? 0 : (row.bytesStored * 8) / row.parameters
}

function contentTable(survey: Survey, paint: Palette): string[] {
  const columns = [
    { title: "FORMAT" },
    { title: "WEIGHTS", align: "right" as const },
    { title: "PARAMETERS", align: "right" as const },
    { title: "BITS", align: "right" as const },
    { title: "STORED", align: "right" as const },
    { title: `AS ${survey.to}`, align: "right" as const },
  ]
  const total = survey.content.reduce(
    (sum, row) => ({
      count: sum.count + row.count,
      parameters: sum.parameters + row.parameters,
      bytesStored: sum.bytesStored + row.bytesStored,
      bytesDense: sum.bytesDense + row.bytesDense,
    }),
    { count: 0, parameters: 0, bytesStored: 0, bytesDense: 0 },
  )
  const convertible = survey.problem === undefined
  const rows = [...survey.content, { name: "all", quantized: false, ...total }].map((row) => [
    row.name,
    formatInteger(row.count),
    formatCount(row.parameters),
    row.parameters === 0 ? "" : formatBits(bitsPerWeight(row)),
    formatBytes(row.bytesStored),
    convertible ? formatBytes(row.bytesDense) : "–",
  ])
  return renderTable(columns, rows, { paintTitle: paint.faint })
}

function kindText({ kind, gguf, shards }: Checkpoint): string {
  const files = formatPlural(shards.length, "file")
  if (gguf !== undefined) return shards.length === 1 ? "GGUF file" : `GGUF set of ${files}`
  return kind === "file" ? "safetensors file" : `folder with ${files} of safetensors`
}

/** GGUF files say themselves what their tensors are; for all others it is the config that does. */
function declaredText({ gguf, declared }: Checkpoint): string {
  if (gguf !== undefined) return `GGUF version ${gguf.version}`
  return declared === undefined ? "no quantization" : escapeText(`${declared.method} (${declared.origin})`)
}

function summaryFacts(survey: Survey): (readonly [string, string])[] {
  const { checkpoint, problem } = survey
  const facts: (readonly [string, string])[] = [
    ["path", escapeText(checkpoint.path)],
    ["kind", kindText(checkpoint)],
  ]
  if (survey.architecture !== undefined) facts.push(["model", escapeText(survey.architecture)])
  facts.push(
    ["declared", declaredText(checkpoint)],
    ["parameters", `${formatCount(survey.parameters)} (${formatInteger(survey.parameters)})`],
    ["tensors", `${formatInteger(checkpoint.tensors.size)}, ${formatBytesExact(checkpoint.tensorBytes)}`],
    ["on disk", formatBytesExact(survey.fileBytes)],
  )
  if (survey.bytesOut !== undefined) facts.push([`as ${survey.to}`, formatBytesExact(survey.bytesOut)])
  if (problem !== undefined) facts.push([`as ${survey.to}`, "cannot be converted, see the error"])
  return facts
}

function findingLines(survey: Survey, paint: Palette): string[] {
  const { dropped, findings } = survey
  const { leftOut } = survey.checkpoint
  const lines = findings.map((finding) => `${paint.warning("finding:")} ${escapeText(finding)}`)
  if (dropped.length > 0) lines.push(`note: convert leaves out ${formatPlural(dropped.length, "side tensor")}`)
  if (leftOut.length > 0) lines.push(`note: not part of it: ${leftOut.map(escapeText).join(", ")}`)
  return lines.length === 0 ? [] : ["", ...lines]
}

function tensorTable(listed: readonly StoredTensor[], files: boolean, paint: Palette): string[] {
  const columns = [
    { title: "TENSOR", shrink: true },
    { title: "DTYPE" },
    { title: "SHAPE" },
    { title: "SIZE", align: "right" as const },
    ...(files ? [{ title: "FILE" }] : []),
  ]
  const rows = listed.map(({ name, dtype, shape, size, file }) => [
    escapeText(name),
    dtype,
    formatShape(shape),
    formatBytes(size),
    ...(files ? [escapeText(file.name)] : []),
  ])
  // Only a terminal has a width: names in a pipe stay whole.
  const width = stdoutIsTerminal() ? terminalWidth("stdout") : undefined
  return ["", ...renderTable(columns, rows, { width, paintTitle: paint.faint })]
}

export default command(
  {
    name: "inspect",
    summary: "formats, tensors, sizes and problems; reads headers only",
    usage: "<path> [options]",
    positionals: [
      { name: "path", help: "file.safetensors, file.gguf, HF folder or its index.json", completes: "path" },
    ],
    options,
    json: true,
    notes: [
      "BITS counts everything that is stored for a weight, scales included.",
      "A GLOB knows * (also over dots), ?, [a-z] and {a,b}.",
    ],
    examples: [
      { line: "dequantizer gpt-oss-20b/", what: "a path alone is inspected" },
      {
        line: "dequantizer inspect gpt-oss-20b/ --include '*.mlp.*' --sort size",
        what: "the expert tensors, largest first",
      },
    ],
  },
  async ({ values, positionals, ui }) => {
    const checkpoint = await openCheckpoint(positionals[0] ?? "")
    const survey = surveyCheckpoint(checkpoint, values.to)
    const listed = listedTensors(survey, values)
    if (ui.json) print(`${JSON.stringify(toJson(survey, listed))}\n`)
    else {
      printLines([
        ...renderFacts(summaryFacts(survey), { paintName: ui.paint.faint }),
        "",
        ...contentTable(survey, ui.paint),
        ...findingLines(survey, ui.paint),
        ...(listed === undefined ? [] : tensorTable(listed, checkpoint.shards.length > 1, ui.paint)),
      ])
    }
    if (survey.problem !== undefined) throw survey.problem
    if (values.strict && survey.findings.length > 0) {
      throw new CheckError(`${escapeText(checkpoint.path)}: ${formatPlural(survey.findings.length, "finding")}`)
    }
    return undefined
  },
)
