/** The manual page in man(7) form, from the rows that the parser reads. */
import type { CommandSpec } from "./command.ts"
import { globalOptions } from "./globals.ts"
import { ENVIRONMENT, EXIT_STATUS, PROGRAM } from "./help.ts"
import type { AnyOption, Options } from "./option.ts"

/** Text for troff: backslashes and hyphens are its own, and a line must not begin with a control character. */
function roff(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replace(/^([.'])/gm, "\\&$1")
}

function optionEntry(name: string, option: AnyOption): string[] {
  const short = option.short === undefined ? "" : `\\fB\\-${option.short}\\fR, `
  const value = option.value === undefined ? "" : ` \\fI${roff(option.value)}\\fR`
  const initial = option.defaultText === undefined ? "" : ` [${option.defaultText}]`
  return [".TP", `${short}\\fB\\-\\-${roff(name)}\\fR${value}`, roff(`${option.help}${initial}`)]
}

function optionEntries(options: Options): string[] {
  return Object.entries(options).flatMap(([name, option]) => optionEntry(name, option))
}

function commandSection(spec: CommandSpec): string[] {
  const alias = spec.alias === undefined ? "" : ` (alias: ${spec.alias})`
  return [
    `.SS "${roff(`${spec.name} ${spec.usage}`.trim())}"`,
    roff(`${spec.summary}${alias}`),
    ...spec.positionals.flatMap((one) => [".TP", `\\fI${roff(one.name)}\\fR`, roff(one.help)]),
    ...optionEntries(spec.options),
    ...(spec.notes ?? []).flatMap((note) => [".PP", roff(note)]),
    ...(spec.examples ?? []).flatMap((one) => [".PP", roff(`${one.what}:`), ".EX", roff(`  ${one.line}`), ".EE"]),
  ]
}

/** Sentences of a paragraph; troff fills the lines. */
const DESCRIPTION = [
  `${PROGRAM} opens a quantized checkpoint, shows what is in it, turns it into dense BF16, F16 or F32 safetensors`,
  "and proves that the result is right.",
  "A path is a safetensors file, a folder as the Hugging Face Hub has them, or the index file of one.",
  "A path without a command is inspected.",
  "Results go to standard output, messages and progress to standard error.",
  "A SIZE is a number with k, M, G (powers of 1000) or Ki, Mi, Gi (powers of 1024).",
]

/** The page; `version` stands in its footer. */
export function manualPage(specs: readonly CommandSpec[], version: string): string {
  const terms = (rows: readonly (readonly [string, string])[]): string[] =>
    rows.flatMap(([name, meaning]) => [".TP", `\\fB${roff(name)}\\fR`, roff(meaning)])
  const lines = [
    `.TH ${PROGRAM.toUpperCase()} 1 "" "${PROGRAM} ${version}"`,
    ".SH NAME",
    `${PROGRAM} \\- inspect, dequantize and multiply quantized LLM checkpoints on CPU`,
    ".SH SYNOPSIS",
    `\\fB${PROGRAM}\\fR \\fIcommand\\fR [\\fIoptions\\fR] \\fIpath\\fR`,
    ".br",
    `\\fB${PROGRAM}\\fR \\fIpath\\fR`,
    ".SH DESCRIPTION",
    ...DESCRIPTION.map(roff),
    ".SH COMMANDS",
    ...specs.flatMap(commandSection),
    ".SH GLOBAL OPTIONS",
    ...optionEntries(globalOptions),
    ".SH ENVIRONMENT",
    ...terms(ENVIRONMENT),
    ".SH EXIT STATUS",
    ...terms(EXIT_STATUS),
  ]
  return `${lines.join("\n")}\n`
}
