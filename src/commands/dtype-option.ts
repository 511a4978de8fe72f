/** `--to`, which several commands have. */
import type { DenseDtype } from "../containers/dtype.ts"
import { choice, type Option } from "../ui/option.ts"

const DTYPES = { bf16: "BF16", f16: "F16", f32: "F32" } as const satisfies Record<string, DenseDtype>

/** The option; its value is the dtype as safetensors spells it. */
export function denseDtypeOption(help: string): Option<DenseDtype> {
  const words = choice({ choices: ["bf16", "f16", "f32"], initial: "bf16", help })
  return { ...words, initial: "BF16", parse: (text, _previous, name) => DTYPES[words.parse(text, "bf16", name)] }
}
