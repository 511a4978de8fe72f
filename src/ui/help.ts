/** Help screens, laid out for 80 columns from the same rows that the parser reads. */
import type { CommandSpec } from "./command.ts"
import { globalOptions } from "./globals.ts"
import type { AnyOption, Options } from "./option.ts"
import type { Palette } from "./terminal.ts"
import { padEnd, textWidth, wrapText } from "./text.ts"

export const PROGRAM = "dequantizer"

const WIDTH = 80
const INDENT = 2
/** Longer names push their help to the next line. */
const NAME_WIDTH_MAX = 29

/** "-j, --threads N"; options without a letter are indented so that the long names stand in one column. */
function optionName(name: string, option: AnyOption): string {
  const short = option.short === undefined ? "    " : `-${option.short}, `
  return `${short}--${name}${option.value === undefined ? "" : ` ${option.value}`}`
}

type Row = readonly [name: string, help: string]

/** Columns that the names of these rows need, the overlong ones aside. */
function nameColumn(rows: readonly Row[]): number {
  return Math.max(0, ...rows.map(([name]) => textWidth(name)).filter((width) => width <= NAME_WIDTH_MAX))
}

/** Rows of name and description; a description wraps under itself and begins on the next line after a long name. */
function describe(rows: readonly Row[], paint: Palette, nameWidth = nameColumn(rows)): string[] {
  const left = INDENT + nameWidth + 2
  return rows.flatMap(([name, help]) => {
    const lines = wrapText(help, WIDTH - left)
    const fits = textWidth(name) <= nameWidth
    const first = fits ? [`${padEnd(name, nameWidth)}  ${lines[0] ?? ""}`] : [name]
    const rest = (fits ? lines.slice(1) : lines).map((line) => " ".repeat(left) + line)
    return [...first.map((line) => " ".repeat(INDENT) + line), ...rest].map((line) => paintDefault(line, paint))
  })
}

/** Defaults stand in brackets at the end and are less than the sentence before them. */
function paintDefault(line: string, paint: Palette): string {
  return line.replace(/\[[^\]<>]+\]$/, (found) => paint.faint(found))
}

function optionHelp(option: AnyOption): string {
  return option.defaultText === undefined ? option.help : `${option.help} [${option.defaultText}]`
}

/** The options under their headings, in the order in which the headings first appear; one column for all names. */
function optionSections(options: Options, paint: Palette): string[] {
  const groups = new Map<string, Row[]>()
  for (const [name, option] of Object.entries(options)) {
    const heading = option.group ?? "Options"
    const rows = groups.get(heading) ?? []
    rows.push([optionName(name, option), optionHelp(option)])
    groups.set(heading, rows)
  }
  const width = nameColumn([...groups.values()].flat())
  return [...groups].flatMap(([heading, rows]) => ["", paint.heading(`${heading}:`), ...describe(rows, paint, width)])
}

function exampleSection(spec: CommandSpec, paint: Palette): string[] {
  if (spec.examples === undefined || spec.examples.length === 0) return []
  const lines = spec.examples.flatMap((example) => [`  ${paint.faint(`# ${example.what}`)}`, `  ${example.line}`])
  return ["", paint.heading("Examples:"), ...lines]
}

/** The screen of one command. */
export function commandHelp(spec: CommandSpec, paint: Palette): string[] {
  const positionals = spec.positionals.map((positional): Row => [`<${positional.name}>`, positional.help])
  const globals = spec.json
    ? globalOptions
    : Object.fromEntries(Object.entries(globalOptions).filter(([name]) => name !== "json"))
  return [
    `${paint.heading(`${PROGRAM} ${spec.name}`)} - ${spec.summary}`,
    "",
    `${paint.heading("Usage:")} ${PROGRAM} ${spec.name} ${spec.usage}`,
    ...(positionals.length > 0 ? ["", ...describe(positionals, paint)] : []),
    ...optionSections({ ...spec.options, ...globals }, paint),
    ...(spec.notes ?? []).flatMap((note) => ["", ...wrapText(note, WIDTH)]),
    ...exampleSection(spec, paint),
  ]
}

export const EXIT_STATUS: readonly Row[] = [
  ["0", "ok"],
  ["1", "a check failed: verify found a mismatch, inspect --strict a finding"],
  ["2", "usage"],
  ["3", "malformed input"],
  ["4", "unsupported format"],
  ["5", "I/O: space, permission, the source changed"],
  ["6", "refused: the output exists or is the input, memory limit"],
  ["70", "a fault of the program itself"],
  ["130, 143", "SIGINT; SIGTERM or SIGHUP"],
]

export const ENVIRONMENT: readonly Row[] = [
  ["NO_COLOR", "no colour, unless --color always"],
  ["DEQUANTIZER_THREADS", "what -j is where it is not given"],
  ["DQ_LEVEL", "what --level is where it is not given"],
  ["TMPDIR", "where the native library is unpacked; not noexec"],
]

/** The first screen. */
export function mainHelp(commands: readonly CommandSpec[], paint: Palette): string[] {
  const rows = commands.map(
    (one): Row => [one.name, one.alias === undefined ? one.summary : `${one.summary} (alias: ${one.alias})`],
  )
  const globals = Object.entries(globalOptions).map(([name, option]) => optionName(name, option).trimStart())
  return [
    `${paint.heading(PROGRAM)} - inspect, dequantize and multiply quantized LLM checkpoints on CPU`,
    "",
    `${paint.heading("Usage:")} ${PROGRAM} <command> [options] <path>`,
    `       ${PROGRAM} <path>              same as: ${PROGRAM} inspect <path>`,
    "       <path> = file.safetensors | HF folder | model.safetensors.index.json",
    "",
    paint.heading("Commands:"),
    ...describe(rows, paint),
    "",
    `${paint.heading("Global options:")} (${PROGRAM} help <command> explains all)`,
    ...wrapText(globals.map((one) => one.replaceAll(" ", "\u00a0")).join(" "), WIDTH - INDENT).map(
      (line) => " ".repeat(INDENT) + line.replaceAll(" ", "   ").replaceAll("\u00a0", " "),
    ),
    "",
    paint.heading("Environment:"),
    ...describe(ENVIRONMENT, paint),
    "",
    paint.heading("Exit status:"),
    ...describe(EXIT_STATUS, paint),
  ]
}
