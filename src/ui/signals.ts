/** SIGINT, SIGTERM and SIGHUP during work that must clean up after itself. */
import { readFileSync } from "node:fs"
import { constants } from "node:os"
import { CancelledError, ExitCode } from "../errors.ts"

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const

/**
 * Signals that this process was started to ignore, as nohup does with SIGHUP and a shell script with SIGINT of its
 * background jobs: a listener would take that back. None where the system does not say (proc(5), SigIgn).
 */
function ignoredSignals(): bigint {
  try {
    const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]
    return BigInt(`0x${mask ?? "0"}`)
  } catch {
    return 0n
  }
}

/**
 * Runs `work` with an AbortSignal that the first signal fires; the work then ends by itself within milliseconds and
 * removes what it wrote. A second signal ends the process at once. Outside of `work` signals kill as usual.
 *
 * Where the work ends with a CancelledError, it is thrown with the exit code of the signal that was received.
 */
export async function withSignals<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  let received: (typeof SIGNALS)[number] | undefined
  const ignored = ignoredSignals()
  const heeded = SIGNALS.filter((name) => ((ignored >> BigInt(constants.signals[name] - 1)) & 1n) === 0n)
  const listeners = heeded.map((name) => {
    const listener = (): void => {
      if (received !== undefined) process.exit(name === "SIGINT" ? ExitCode.sigint : ExitCode.sigterm)
      received = name
      controller.abort(new CancelledError(name))
    }
    process.on(name, listener)
    return [name, listener] as const
  })
  try {
    return await work(controller.signal)
  } catch (error) {
    if (received !== undefined && error instanceof CancelledError) throw new CancelledError(received)
    throw error
  } finally {
    for (const [name, listener] of listeners) process.off(name, listener)
  }
}
