/**
 * Each checkpoint of the list with missing, unfitting or unsupported quantized tensors ends in its own clear error.
 */
import { expect, test } from "bun:test"
import { KNOWN_FORMATS } from "../../src/schemes/known.ts"
import { expectFault } from "../support/broken-run.ts"
import { brokenWeights } from "../support/broken-weights.ts"

for (const input of brokenWeights) test(input.name, () => expectFault(input), 5000)

test("every known format has a test", () => {
  const says = brokenWeights.map((input) => input.says)
  const untested = KNOWN_FORMATS.filter(({ title }) => {
    const line = `model.safetensors: tensor "m.q.weight": ${title} is not supported`
    return !says.some((pattern) => pattern.test(line))
  })
  expect(untested.map(({ title }) => title)).toEqual([])
})
