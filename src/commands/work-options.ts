/** The options of commands that start the native engine. */
import { choice, integer, size } from "../ui/option.ts"

const group = "Machine"

/** More threads than any machine has cores; a larger number is a slip of the keyboard. */
const THREADS_MAX = 4096

const threads = integer({
  short: "j",
  group,
  value: "N",
  min: 0,
  max: THREADS_MAX,
  initial: undefined,
  defaultText: "0",
  help: "threads; 0: all allowed physical cores",
})

export const workOptions = {
  threads,
  "max-memory": size({ group, initial: 2 ** 30, defaultText: "1GiB", help: "bound of the working buffers" }),
  io: choice({
    group,
    choices: ["auto", "mmap", "pread", "direct"],
    initial: "auto",
    help: "how files are read and written",
  }),
} as const

/** `-j`, else DEQUANTIZER_THREADS, else 0. Throws UsageError where the variable is no number of threads. */
export function threadCount(given: number | undefined, env: NodeJS.ProcessEnv = process.env): number {
  if (given !== undefined) return given
  const variable = env.DEQUANTIZER_THREADS
  if (variable === undefined || variable === "") return 0
  return threads.parse(variable, undefined, "DEQUANTIZER_THREADS") ?? 0
}
