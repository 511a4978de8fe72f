/** `completion <shell>`: prints the completion script. */
import { command } from "../ui/command.ts"
import { completionScript, SHELLS } from "../ui/completion.ts"
import { print } from "../ui/terminal.ts"
import { loadSpecs } from "./table.ts"

export default command(
  {
    name: "completion",
    summary: "the completion script for bash, zsh or fish",
    usage: "<bash|zsh|fish>",
    positionals: [{ name: "shell", help: "bash, zsh or fish", choices: SHELLS }],
    options: {},
    json: false,
    examples: [
      { what: "bash: a line of ~/.bashrc", line: 'eval "$(dequantizer completion bash)"' },
      { what: "zsh", line: "dequantizer completion zsh > ~/.zfunc/_dequantizer" },
      { what: "fish", line: "dequantizer completion fish > ~/.config/fish/completions/dequantizer.fish" },
    ],
  },
  async ({ positionals }) => {
    const shell = SHELLS.find((one) => one === positionals[0])
    if (shell !== undefined) print(completionScript(shell, await loadSpecs()))
    return undefined
  },
)
