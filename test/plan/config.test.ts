import { describe, expect, test } from "bun:test"
import { parseJsonObject } from "../../src/containers/json.ts"
import { type ConfigChanges, declaredQuantization, rewriteConfig } from "../../src/plan/config.ts"

const decoded: ConfigChanges = { dtype: "F16", keepQuantization: false }

function rewrite(text: string, changes: ConfigChanges = decoded): string {
  return rewriteConfig(text, parse(text), changes)
}

function parse(text: string) {
  return parseJsonObject(new TextEncoder().encode(text), "config.json", { pythonConstants: true })
}

test("the quantization goes, the dtype changes, everything else keeps its form", () => {
  const text = `{
    "architectures": ["GptOssForCausalLM"],
  "eos_token_id":   200002,
\t"quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["a", "}"]},
    "rms_norm_eps": 1e-05,
    "big": 123456789012345678901234567890,
    "limit": [0.0, Infinity],
    "torch_dtype" : "bfloat16",
    "name": "caf\\u00e9 \\"{quoted}\\" ✓"
}
`
  expect(rewrite(text)).toBe(`{
    "architectures": ["GptOssForCausalLM"],
  "eos_token_id":   200002,
    "rms_norm_eps": 1e-05,
    "big": 123456789012345678901234567890,
    "limit": [0.0, Infinity],
    "torch_dtype" : "float16",
    "name": "caf\\u00e9 \\"{quoted}\\" ✓"
}
`)
})

describe("where a member stands", () => {
  test.each([
    ["first", '{"quantization_config": {"bits": 4}, "a": 1, "b": 2}', '{"a": 1, "b": 2}'],
    ["in the middle", '{"a": 1, "quantization_config": {}, "b": 2}', '{"a": 1, "b": 2}'],
    ["last", '{\n  "a": 1,\n  "quantization_config": {\n    "bits": 4\n  }\n}\n', '{\n  "a": 1\n}\n'],
    ["alone", '{\n  "quantization_config": {"bits": 4}\n}', "{}"],
    ["two in a row", '{"a": 1, "quantization": {"bits": 4}, "quantization_config": {"bits": 4}}', '{"a": 1}'],
    ["two at the start", '{ "quantization": {}, "quantization_config": {}, "a": 1 }', '{ "a": 1 }'],
    ["behind white space", ' \n{"compression_config" : { } , "a" :1 }\n\n', ' \n{"a" :1 }\n\n'],
    ["under an escaped key", '{"quantization\\u005fconfig": {"x": "\\\\"}, "a": 1}', '{"a": 1}'],
    ["nowhere", '{"a": {"quantization_config": {}}}', '{"a": {"quantization_config": {}}}'],
    ["in an empty object", "{ }", "{ }"],
  ])("%s", (_, text, expected) => {
    expect(rewrite(text)).toBe(expected)
    expect(() => parse(rewrite(text))).not.toThrow()
  })
})

describe("nested configs", () => {
  const text = JSON.stringify({
    text_config: { dtype: "bfloat16", quantization_config: { bits: 4 }, inner_config: { torch_dtype: "float32" } },
    vision: { dtype: "float32" },
    dtype: null,
  })

  test("those called *_config change, others stay, null stays", () => {
    expect(JSON.parse(rewrite(text))).toEqual({
      text_config: { dtype: "float16", inner_config: { torch_dtype: "float16" } },
      vision: { dtype: "float32" },
      dtype: null,
    })
  })

  test("are searched for what still declares a quantization", () => {
    expect(declaredQuantization(parse(text))).toEqual(["text_config.quantization_config"])
    expect(declaredQuantization(parse(rewrite(text)))).toEqual([])
    expect(declaredQuantization(parse('{"quantization": {"bits": 4}, "quantization_config": null}'))).toEqual([
      "quantization",
    ])
  })
})

test("without decoded or cast tensors the dtype keys stay; what stays quantized keeps its settings", () => {
  const text = '{"torch_dtype": "float32", "quantization_config": {"bits": 4}}'
  expect(rewrite(text, { dtype: undefined, keepQuantization: false })).toBe('{"torch_dtype": "float32"}')
  expect(rewrite(text, { dtype: "BF16", keepQuantization: true })).toBe(
    '{"torch_dtype": "bfloat16", "quantization_config": {"bits": 4}}',
  )
  expect(rewrite(text, { dtype: undefined, keepQuantization: true })).toBe(text)
})

test("a quantization that is no object stays: it declares nothing", () => {
  const text = '{"quantization_config": null, "quantization": "int8", "dtype": 5}'
  expect(rewrite(text)).toBe(text)
})

test("a megabyte of strings and brackets is passed over in linear time", () => {
  const long = JSON.stringify({ a: '[{"\\'.repeat(100_000), b: [[["]"]]], quantization_config: {}, c: 1 })
  expect(rewrite(long)).toBe(long.replace('"quantization_config":{},', ""))
})
