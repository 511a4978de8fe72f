/** SIGINT, SIGTERM and SIGHUP during work that must clean up after itself. */
import { CancelledError, ExitCode } from "../errors.ts"

type Signal = "SIGINT" | "SIGTERM" | "SIGHUP"
const SIGNALS: readonly Signal[] = ["SIGINT", "SIGTERM", "SIGHUP"]

/**
 * Runs `work` with an AbortSignal that the first signal fires; the work then ends by itself within milliseconds and
 * removes what it wrote. A second signal ends the process at once. Outside of `work` signals kill as usual.
 *
 * Where the work ends with a CancelledError, it is thrown with the exit code of the signal that was received.
 */
export async function withSignals<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  let received: Signal | undefined
  const listeners = SIGNALS.map((name) => {
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
