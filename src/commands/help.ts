/** `help [command]`: the first screen, or the screen of one command. */

import { UsageError } from "../errors.ts"
import { nearest } from "../nearest.ts"
import { command } from "../ui/command.ts"
import { commandHelp, mainHelp } from "../ui/help.ts"
import { printLines } from "../ui/terminal.ts"
import { COMMAND_WORDS, findCommand, loadCommand, loadSpecs } from "./table.ts"

export default command(
  {
    name: "help",
    summary: "this screen, or all options of one command",
    usage: "[command]",
    positionals: [{ name: "command", help: "the command to explain", optional: true }],
    options: {},
    json: false,
  },
  async ({ positionals, ui }) => {
    const word = positionals[0]
    if (word === undefined) {
      printLines(mainHelp(await loadSpecs(), ui.paint))
      return
    }
    const name = findCommand(word)
    if (name === undefined) {
      const close = nearest(word, COMMAND_WORDS)
      throw new UsageError(`unknown command "${word}"`, close === undefined ? {} : { hint: `did you mean ${close}?` })
    }
    printLines(commandHelp((await loadCommand(name)).spec, ui.paint))
  },
)
