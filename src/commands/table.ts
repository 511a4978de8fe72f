/** The commands by name. Each is loaded when it is called, so that `--version` pays for none of them. */
import type { Command, CommandSpec } from "../ui/command.ts"

const LOADERS = {
  inspect: () => import("./inspect.ts"),
  convert: () => import("./convert.ts"),
  verify: () => import("./verify.ts"),
  finish: () => import("./finish.ts"),
  matvec: () => import("./matvec.ts"),
  bench: () => import("./bench.ts"),
  doctor: () => import("./doctor.ts"),
  formats: () => import("./formats.ts"),
  completion: () => import("./completion.ts"),
  man: () => import("./man.ts"),
  help: () => import("./help.ts"),
} as const satisfies Record<string, () => Promise<{ readonly default: Command }>>

export type CommandName = keyof typeof LOADERS

const ALIASES: Readonly<Record<string, CommandName>> = { dequantize: "convert" }

/** All words that name a command. */
export const COMMAND_WORDS: readonly string[] = [...Object.keys(LOADERS), ...Object.keys(ALIASES)]

function isCommandName(word: string): word is CommandName {
  return Object.hasOwn(LOADERS, word)
}

export function findCommand(word: string): CommandName | undefined {
  if (isCommandName(word)) return word
  return Object.hasOwn(ALIASES, word) ? ALIASES[word] : undefined
}

export async function loadCommand(name: CommandName): Promise<Command> {
  return (await LOADERS[name]()).default
}

/** Every command's description, in the order of help. */
export async function loadSpecs(): Promise<readonly CommandSpec[]> {
  const commands = await Promise.all(Object.keys(LOADERS).filter(isCommandName).map(loadCommand))
  return commands.map((command) => command.spec)
}
