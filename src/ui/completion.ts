/** Completion scripts for bash, zsh and fish, from the rows that the parser reads. They run without this program. */
import type { CommandSpec } from "./command.ts"
import { globalOptions } from "./globals.ts"
import { PROGRAM } from "./help.ts"
import type { AnyOption } from "./option.ts"

export const SHELLS = ["bash", "zsh", "fish"] as const
export type Shell = (typeof SHELLS)[number]

/** A command's options and the global ones. */
function optionsOf(spec: CommandSpec): readonly (readonly [name: string, option: AnyOption])[] {
  return Object.entries({ ...spec.options, ...globalOptions }).filter(([name]) => name !== "json" || spec.json)
}

function wordsOf(spec: CommandSpec): readonly string[] {
  return spec.alias === undefined ? [spec.name] : [spec.name, spec.alias]
}

function spellings(name: string, option: AnyOption): readonly string[] {
  return option.short === undefined ? [`--${name}`] : [`-${option.short}`, `--${name}`]
}

/** Text in single quotes for a shell; fish knows the escape too. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

function bashCommand(spec: CommandSpec): string {
  const options = optionsOf(spec)
  const values = options.flatMap(([name, option]) => {
    if (option.value === undefined) return []
    const pattern = spellings(name, option).join("|")
    const action = option.choices === undefined ? "COMPREPLY=()" : `_${PROGRAM}_words "${option.choices.join(" ")}"`
    return [`        ${pattern}) ${action}; return ;;`]
  })
  const names = options.flatMap(([name, option]) => spellings(name, option)).join(" ")
  const words = spec.positionals[0]?.choices?.join(" ")
  return [
    `    ${wordsOf(spec).join("|")})`,
    '      case "$prev" in',
    ...values,
    "      esac",
    `      if [[ "$cur" == -* ]]; then _${PROGRAM}_words "${names}"`,
    ...(words === undefined ? [] : [`      else _${PROGRAM}_words "${words}"`]),
    "      fi ;;",
  ].join("\n")
}

/** bash gives `--name=value` as three words, because `=` is one of its word breaks. */
function bashScript(specs: readonly CommandSpec[]): string {
  const commands = specs.flatMap(wordsOf)
  const globals = Object.entries(globalOptions)
  const valued = globals.filter(([, option]) => option.value !== undefined).map(([name]) => `--${name}`)
  return `# bash completion of ${PROGRAM}: eval "$(${PROGRAM} completion bash)"
_${PROGRAM}_words() {
  local word
  COMPREPLY=()
  for word in $1; do
    [[ "$word" == "$cur"* ]] && COMPREPLY+=("$word")
  done
}

_${PROGRAM}() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD - 1]}" command="" i
  if [[ "$cur" == "=" ]]; then
    cur=""
  elif [[ "$prev" == "=" ]]; then
    prev="\${COMP_WORDS[COMP_CWORD - 2]}"
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${COMP_WORDS[i]}" in
      ${valued.join("|")}) ((i++)) ;;
      -*) ;;
      ${commands.join("|")}) command="\${COMP_WORDS[i]}"; break ;;
      *) command=inspect; break ;;
    esac
  done
  case "$command" in
${specs.map(bashCommand).join("\n")}
    *)
      if [[ "$cur" == -* ]]; then _${PROGRAM}_words "${globals.flatMap(([n, o]) => spellings(n, o)).join(" ")}"
      else _${PROGRAM}_words "${commands.join(" ")}"
      fi ;;
  esac
}
complete -o default -F _${PROGRAM} ${PROGRAM}
`
}

/** Brackets and colons have a meaning in _arguments. */
function zshHelp(help: string): string {
  return help.replace(/[[\]:\\]/g, "\\$&")
}

function zshOption(name: string, option: AnyOption): string {
  const repeat = Array.isArray(option.initial) ? "*" : ""
  const action = option.choices !== undefined ? `(${option.choices.join(" ")})` : option.completes ? "_files" : " "
  const value = option.value === undefined ? "" : `:${zshHelp(option.value)}:${action}`
  const text = quoted(`[${zshHelp(option.help)}]${value}`)
  const long = option.value === undefined ? `--${name}` : `--${name}=`
  if (option.short === undefined) return `${quoted(repeat + long)}${text}`
  const short = option.value === undefined ? `-${option.short}` : `-${option.short}+`
  const exclusive = repeat === "" ? quoted(`(-${option.short} --${name})`) : quoted("*")
  return `${exclusive}{${short},${long}}${text}`
}

function zshCommand(spec: CommandSpec): string {
  const positionals = spec.positionals.map((positional) => {
    const action = positional.choices === undefined ? "_files" : `(${positional.choices.join(" ")})`
    return quoted(`${positional.optional ? "::" : ":"}${positional.name}:${action}`)
  })
  const lines = [...optionsOf(spec).map(([name, option]) => zshOption(name, option)), ...positionals]
  return `    ${wordsOf(spec).join("|")})\n      _arguments -s ${lines.join(" \\\n        ")} ;;`
}

function zshScript(specs: readonly CommandSpec[]): string {
  const rows = specs.flatMap((spec) => wordsOf(spec).map((word) => quoted(`${word}:${zshHelp(spec.summary)}`)))
  return `#compdef ${PROGRAM}
# zsh completion of ${PROGRAM}: save as _${PROGRAM} in a folder of $fpath
_${PROGRAM}() {
  local -a commands=(
    ${rows.join("\n    ")}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    _files
    return
  fi
  shift words
  (( CURRENT-- ))
  case "$words[1]" in
${specs.map(zshCommand).join("\n")}
    *) _files ;;
  esac
}
if [[ "$funcstack[1]" == _${PROGRAM} ]]; then
  _${PROGRAM} "$@"
else
  compdef _${PROGRAM} ${PROGRAM}
fi
`
}

function fishOption(condition: string, name: string, option: AnyOption): string {
  const parts = [`complete -c ${PROGRAM}`, condition, `-l ${name}`]
  if (option.short !== undefined) parts.push(`-s ${option.short}`)
  if (option.choices !== undefined) parts.push(`-x -a ${quoted(option.choices.join(" "))}`)
  else if (option.completes !== undefined) parts.push("-r -F")
  else if (option.value !== undefined) parts.push("-x")
  return `${parts.filter((part) => part !== "").join(" ")} -d ${quoted(option.help)}`
}

function fishCommand(spec: CommandSpec): string[] {
  const condition = `-n '__fish_seen_subcommand_from ${wordsOf(spec).join(" ")}'`
  const words = spec.positionals[0]?.choices
  return [
    ...wordsOf(spec).map(
      (word) => `complete -c ${PROGRAM} -n __fish_use_subcommand -a ${word} -d ${quoted(spec.summary)}`,
    ),
    ...(words === undefined ? [] : [`complete -c ${PROGRAM} ${condition} -f -a ${quoted(words.join(" "))}`]),
    ...Object.entries(spec.options).map(([name, option]) => fishOption(condition, name, option)),
  ]
}

function fishScript(specs: readonly CommandSpec[]): string {
  const lines = [
    `# fish completion of ${PROGRAM}: save as ~/.config/fish/completions/${PROGRAM}.fish`,
    ...Object.entries(globalOptions).map(([name, option]) => fishOption("", name, option)),
    ...specs.flatMap(fishCommand),
  ]
  return `${lines.join("\n")}\n`
}

/** The script that a shell loads. */
export function completionScript(shell: Shell, specs: readonly CommandSpec[]): string {
  const scripts: Readonly<Record<Shell, (specs: readonly CommandSpec[]) => string>> = {
    bash: bashScript,
    zsh: zshScript,
    fish: fishScript,
  }
  return scripts[shell](specs)
}
