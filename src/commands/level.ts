/** Which CPU level the kernels of this run use. */
import { selectLevel } from "../native/machine.ts"
import type { Globals } from "../ui/globals.ts"

/**
 * Heeds --level, else DQ_LEVEL. Throws UsageError for a level that does not exist, UnsupportedError for one that this
 * CPU lacks: whoever names a level wants that one.
 */
export function useLevel(globals: Globals): void {
  const name = globals.level ?? process.env.DQ_LEVEL
  if (name !== undefined && name !== "") selectLevel(name)
}
