/** Where a quantization may be declared, and which place wins. */
import { describe, expect, test } from "bun:test"
import { type DeclaringFile, findDeclared } from "../../src/checkpoint/declared.ts"
import { parseJsonObject } from "../../src/containers/json.ts"

function file(name: string, content: unknown): DeclaringFile {
  const path = `m/${name}`
  return { path, name, content: parseJsonObject(new TextEncoder().encode(JSON.stringify(content)), path) }
}

const config = (content: unknown) => file("config.json", content)

describe("config.json", () => {
  const cases: readonly (readonly [string, unknown, string | undefined, string | undefined])[] = [
    ["nothing", {}, undefined, undefined],
    ["null", { quantization_config: null }, undefined, undefined],
    ["an empty object", { quantization_config: {} }, undefined, undefined],
    ["quant_method", { quantization_config: { quant_method: "MXFP4" } }, "mxfp4", "config.json: quantization_config"],
    [
      "text_config",
      { text_config: { quantization_config: { quant_method: "fp8" } } },
      "fp8",
      "config.json: text_config.quantization_config",
    ],
    [
      "two levels down",
      { thinker_config: { text_config: { quantization_config: { quant_method: "awq" } } } },
      "awq",
      "config.json: thinker_config.text_config.quantization_config",
    ],
    [
      "the top level wins",
      { text_config: { quantization_config: { quant_method: "fp8" } }, quantization_config: { quant_method: "gptq" } },
      "gptq",
      "config.json: quantization_config",
    ],
    ["MLX", { quantization: { group_size: 64, bits: 4 } }, "mlx", "config.json: quantization"],
    [
      "MLX, twice",
      { quantization: { group_size: 64, bits: 4 }, quantization_config: { group_size: 64, bits: 4 } },
      "mlx",
      "config.json: quantization_config",
    ],
    ["MLX copy alone", { quantization_config: { group_size: 64, bits: 4 } }, "mlx", "config.json: quantization_config"],
    ["modelopt", { quantization_config: { quant_algo: "NVFP4" } }, "modelopt", "config.json: quantization_config"],
    [
      "bitsandbytes before quant_method",
      { quantization_config: { load_in_4bit: true } },
      "bitsandbytes",
      "config.json: quantization_config",
    ],
    [
      "older compressed-tensors",
      { compression_config: { quant_method: "compressed-tensors", format: "float-quantized" } },
      "compressed-tensors",
      "config.json: compression_config",
    ],
    [
      "sizes that mean the whole row, or nothing",
      { quantization_config: { quant_method: "gptq", bits: 4.25, group_size: -1, weight_block_size: null } },
      "gptq",
      "config.json: quantization_config",
    ],
  ]
  test.each(cases)("%s", (_name, content, method, origin) => {
    const found = findDeclared(config(content), [])
    expect(found?.method).toBe(method)
    expect(found?.origin).toBe(origin)
  })
})

describe("side files", () => {
  const gptq = file("quantize_config.json", { bits: 4, group_size: 128 })
  const awq = file("quant_config.json", { w_bit: 4, q_group_size: 128, version: "GEMM" })
  const modelopt = file("hf_quant_config.json", { producer: {}, quantization: { quant_algo: "NVFP4", group_size: 16 } })

  test("each has its method", () => {
    expect(findDeclared(undefined, [gptq])).toMatchObject({ method: "gptq", origin: "quantize_config.json" })
    expect(findDeclared(undefined, [awq])).toMatchObject({ method: "awq", origin: "quant_config.json" })
    expect(findDeclared(undefined, [modelopt])?.settings.get("quant_algo")).toBe("NVFP4")
  })

  test("config.json wins, then modelopt's file", () => {
    const declaring = config({ quantization_config: { quant_method: "fp8" } })
    expect(findDeclared(declaring, [awq, gptq, modelopt])?.method).toBe("fp8")
    expect(findDeclared(config({}), [awq, gptq, modelopt])?.method).toBe("modelopt")
  })

  test("a fault names the file that has it", () => {
    const broken = file("hf_quant_config.json", { quantization: { group_size: 0 } })
    expect(() => findDeclared(config({}), [broken])).toThrow(
      'm/hf_quant_config.json: quantization has a wrong "group_size" (expected a positive integer, found 0)',
    )
  })
})
