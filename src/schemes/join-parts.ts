/** Tensors of which each has every other row of what is one tensor in transformers: gate and up of gpt-oss. */
import type { StoredTensor } from "../containers/container.ts"
import { elementCount } from "../containers/dtype.ts"
import { quote, tensorFault, tensorLine } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { UnsupportedError } from "../errors.ts"
import type { Weight } from "./scheme.ts"

/** One of them. */
export interface Part {
  readonly tensor: StoredTensor
  readonly weight: Weight
}

/**
 * One weight whose rows `count` parts give in turns. Throws MalformedError where a part is missing or has another shape,
 * UnsupportedError where it is quantized otherwise; `hint` says how to do without.
 */
export function joinParts(name: string, parts: readonly (Part | undefined)[], count: number, hint: string): Weight {
  const present = parts.filter((part) => part !== undefined)
  const [first] = present
  if (first === undefined) throw new Error(`${name}: a stack of no parts`)
  const { tensor, weight } = first
  if (present.length !== count) {
    throw tensorFault(tensor.file.path, tensor.name, `is one of ${count} parts of ${quote(name)}`, {
      expected: `${count} tensors`,
      found: String(present.length),
    })
  }
  for (const other of present) {
    if (shapeText(other.tensor.shape) !== shapeText(tensor.shape)) {
      throw tensorFault(other.tensor.file.path, other.tensor.name, `does not fit ${quote(tensor.name)}`, {
        expected: shapeText(tensor.shape),
        found: shapeText(other.tensor.shape),
      })
    }
    const { codec, parameters } = other.weight
    if (codec === weight.codec && parameters.join() === weight.parameters.join()) continue
    const what = `has another type than ${quote(tensor.name)}, with which it is one tensor in transformers`
    throw new UnsupportedError(tensorLine(other.tensor.file.path, other.tensor.name, what), { hint })
  }
  if (count === 1) return { ...weight, name }
  const rows = weight.rows * count
  const shape = weight.orientation === "transposed" ? [...tensor.shape.slice(0, -2), rows, weight.columns] : undefined
  return {
    ...weight,
    name,
    sources: present.flatMap((part) => part.weight.sources),
    rows,
    rowAlign: count,
    parts: count,
    shape: shape ?? [...tensor.shape.slice(0, -1), (elementCount(tensor.shape.slice(-1)) ?? 1) * count],
  }
}
