/** `man`: prints the manual page. */
import { command } from "../ui/command.ts"
import { manualPage } from "../ui/manual.ts"
import { print } from "../ui/terminal.ts"
import { VERSION } from "../version.ts"
import { loadSpecs } from "./table.ts"

export default command(
  {
    name: "man",
    summary: "the manual page, in man(7) form",
    usage: "",
    positionals: [],
    options: {},
    json: false,
    examples: [{ what: "read it", line: "dequantizer man | man -l -" }],
  },
  async () => {
    print(manualPage(await loadSpecs(), VERSION))
    return undefined
  },
)
