/** Activations in f64, by the formulas of torch and of gpt-oss. */
import type { ActivationName } from "../../src/matrix/matrix.ts"

/** What the formulas of torch and of gpt-oss make of sums. */
export const activations: Record<ActivationName, (sums: Float64Array) => Float64Array> = {
  none: (sums) => sums,
  relu: (sums) => sums.map((x) => Math.max(x, 0)),
  silu: (sums) => sums.map((x) => x * sigmoid(x)),
  gelu: (sums) => sums.map((x) => (x / 2) * (1 + erf(x / Math.SQRT2))),
  gelu_tanh: (sums) => sums.map((x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))),
  swiglu: (sums) => {
    const half = sums.length / 2
    return Float64Array.from({ length: half }, (_, i) => sums[i]! * sigmoid(sums[i]!) * sums[half + i]!)
  },
  swiglu_oss: (sums) =>
    Float64Array.from({ length: sums.length / 2 }, (_, i) => {
      const gate = Math.min(sums[2 * i]!, 7)
      const up = Math.max(-7, Math.min(sums[2 * i + 1]!, 7))
      return gate * sigmoid(1.702 * gate) * (up + 1)
    }),
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x))
}

/** The series of erf; enough terms for |x| < 5, beyond which it is ±1 in f32. */
function erf(x: number): number {
  if (Math.abs(x) > 5) return Math.sign(x)
  let term = x
  let sum = x
  for (let n = 1; n < 150; n++) {
    term *= (-x * x) / n
    sum += term / (2 * n + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * sum
}
