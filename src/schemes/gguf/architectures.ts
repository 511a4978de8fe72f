/** The GGUF architectures whose form in transformers is known, by `general.architecture`. */
import { type GgufMetadata, ggufNumber, ggufText } from "../../containers/gguf-metadata.ts"
import type { ConfigBuilder } from "./config.ts"
import * as settings from "./config-models.ts"
import { GEMMA, GEMMA_TOP, GEMMA2, GPT_OSS, LLAMA, MIXTRAL, PHI3, QWEN, QWEN_MOE, type Rules, TOP } from "./names.ts"

export interface Architecture {
  /** Prefix of its metadata keys. */
  readonly key: string
  /** For messages. */
  readonly title: string
  readonly rules: Rules
  readonly top: Rules
  /** Class in transformers, and `model_type`. */
  readonly className: string
  readonly modelType: string
  /** What config.json has beyond what all models have. */
  readonly settings: ConfigBuilder
}

type Entry = Omit<Architecture, "key" | "top"> & { readonly top?: Rules }

const ARCHITECTURES: Readonly<Record<string, Entry>> = {
  llama: {
    title: "Llama",
    rules: LLAMA,
    className: "LlamaForCausalLM",
    modelType: "llama",
    settings: settings.llama,
  },
  qwen2: {
    title: "Qwen 2",
    rules: QWEN,
    className: "Qwen2ForCausalLM",
    modelType: "qwen2",
    settings: settings.qwen2,
  },
  qwen3: {
    title: "Qwen 3",
    rules: QWEN,
    className: "Qwen3ForCausalLM",
    modelType: "qwen3",
    settings: settings.qwen3,
  },
  qwen2moe: {
    title: "Qwen 2 MoE",
    rules: QWEN_MOE,
    className: "Qwen2MoeForCausalLM",
    modelType: "qwen2_moe",
    settings: settings.qwen2Moe,
  },
  qwen3moe: {
    title: "Qwen 3 MoE",
    rules: QWEN_MOE,
    className: "Qwen3MoeForCausalLM",
    modelType: "qwen3_moe",
    settings: settings.qwen3Moe,
  },
  gemma: {
    title: "Gemma",
    rules: GEMMA,
    top: GEMMA_TOP,
    className: "GemmaForCausalLM",
    modelType: "gemma",
    settings: settings.gemma,
  },
  gemma2: {
    title: "Gemma 2",
    rules: GEMMA2,
    top: GEMMA_TOP,
    className: "Gemma2ForCausalLM",
    modelType: "gemma2",
    settings: settings.gemma2,
  },
  gemma3: {
    title: "Gemma 3",
    rules: GEMMA2,
    top: GEMMA_TOP,
    className: "Gemma3ForCausalLM",
    modelType: "gemma3_text",
    settings: settings.gemma3,
  },
  phi3: {
    title: "Phi 3",
    rules: PHI3,
    className: "Phi3ForCausalLM",
    modelType: "phi3",
    settings: settings.phi3,
  },
  "gpt-oss": {
    title: "gpt-oss",
    rules: GPT_OSS,
    className: "GptOssForCausalLM",
    modelType: "gpt_oss",
    settings: settings.gptOss,
  },
}

const MIXTRAL_ENTRY: Entry = {
  title: "Mixtral",
  rules: MIXTRAL,
  className: "MixtralForCausalLM",
  modelType: "mixtral",
  settings: settings.mixtral,
}

/** undefined where the architecture is none of these. */
export function findArchitecture(gguf: GgufMetadata): Architecture | undefined {
  const key = ggufText(gguf, "general.architecture")
  if (key === undefined || !Object.hasOwn(ARCHITECTURES, key)) return undefined
  const isMixtral = key === "llama" && (ggufNumber(gguf, "llama.expert_count") ?? 0) > 0
  const entry = isMixtral ? MIXTRAL_ENTRY : ARCHITECTURES[key]!
  return { top: TOP, ...entry, key }
}

/** Titles of all, for help texts. */
export const architectureTitles: readonly string[] = [
  ...Object.values(ARCHITECTURES).map(({ title }) => title),
  MIXTRAL_ENTRY.title,
]
