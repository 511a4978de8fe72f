/**
 * MLX's quantized weights:
 *
 *     affine   P.weight  U32 [batch…, out, in·b/32]: codes of b bits, one behind the other
 *              P.scales, P.biases  BF16, F16 or F32 [batch…, out, in/g]
 *     mxfp4    P.weight  U32 [batch…, out, in/8],   P.scales  U8 [batch…, out, in/32], E8M0
 *     mxfp8    P.weight  U32 [batch…, out, in/4],   P.scales  U8 [batch…, out, in/32], E8M0
 *     nvfp4    P.weight  U32 [batch…, out, in/8],   P.scales  U8 [batch…, out, in/16], E4M3
 *              P.global_scale  F32 [] or [batch…], if there: the largest magnitude of the matrix
 *
 * Bits, group size and mode are declared for the whole model and for single paths; tensors alone do not tell them, since
 * only b·g follows from their shapes. Sources: mlx 0.32.4, mlx/ops.cpp; mlx-lm, utils.py.
 */
import type { Checkpoint } from "../checkpoint/checkpoint.ts"
import type { StoredTensor } from "../containers/container.ts"
import { elementCount } from "../containers/dtype.ts"
import { isJsonObject, type JsonObject, jsonInteger } from "../containers/json.ts"
import { tensorFault, tensorLine } from "../containers/quote.ts"
import { shapeText } from "../containers/safetensors.ts"
import { UnsupportedError } from "../errors.ts"
import { missingPart } from "./fp8.ts"
import { type FloatDtype, floatDtype, integerParameters } from "./integers.ts"
import { mxfp4Weight, requireDtype, requireShape } from "./mxfp4.ts"
import type { FormatRow, MatchContext, Scheme, Weight, WeightSource } from "./scheme.ts"

const CODES = ".weight"
const AFFINE_BITS = [2, 3, 4, 5, 6, 8]
const AFFINE_GROUPS = [16, 32, 64, 128]
/** The number of plain E8M0 bytes in kernels/codecs/scale.zig. */
const E8M0 = 4
/** That of a scale of the whole which is a magnitude, in kernels/codecs/nvfp4.zig. */
const MAGNITUDE = 3

/** Bits and group size of each mode of small floats; no two have the same product. */
const FLOAT_MODES = {
  mxfp4: { bits: 4, group: 32 },
  mxfp8: { bits: 8, group: 32 },
  nvfp4: { bits: 4, group: 16 },
} as const
type FloatMode = keyof typeof FLOAT_MODES
const FLOAT_MODE_NAMES = Object.keys(FLOAT_MODES) as FloatMode[]

export const mlxAffine: Scheme = {
  name: "mlx-affine",
  row: {
    title: "MLX affine, 2 to 8 bits",
    declaredAs: "quantization: bits, group_size",
    stored: "P.weight U32 [out, in b/32], P.scales and P.biases [out, in/g]",
    codec: "mlx_affine",
    bitsPerWeight: "2.25 to 9.00",
    reference: "mlx on CPUs",
  },
  declared: (checkpoint) => settingsOf(checkpoint) !== undefined && modeOf(settingsOf(checkpoint)) === "affine",
  match: matchAffine,
}

export const mlxFloats: readonly Scheme[] = [
  floatScheme("mxfp4", { title: "MXFP4 (MLX)", codec: "mxfp4", bitsPerWeight: "4.25" }, "in/8", "in/32"),
  floatScheme("mxfp8", { title: "MXFP8 (MLX)", codec: "fp8_e4m3", bitsPerWeight: "8.25" }, "in/4", "in/32"),
  floatScheme("nvfp4", { title: "NVFP4 (MLX)", codec: "nvfp4", bitsPerWeight: "4.50" }, "in/8", "in/16"),
]

function floatScheme(
  mode: FloatMode,
  row: Pick<FormatRow, "title" | "codec" | "bitsPerWeight">,
  words: string,
  groups: string,
): Scheme {
  const name = `mlx-${mode}`
  return {
    name,
    row: {
      ...row,
      declaredAs: `quantization: mode ${mode}`,
      stored: `P.weight U32 [out, ${words}], P.scales U8 [out, ${groups}]`,
      reference: "mlx on CPUs",
    },
    declared: (checkpoint) => modeOf(settingsOf(checkpoint)) === mode,
    match: (codes, context) => matchFloat(mode, name, codes, context),
  }
}

/** MLX's settings; transformers' ones have a quant_method of their own. */
function settingsOf({ declared }: Checkpoint): JsonObject | undefined {
  return declared?.method === "mlx" ? declared.settings : undefined
}

function modeOf(settings: JsonObject | undefined): string {
  const mode = settings?.get("mode")
  return typeof mode === "string" ? mode : "affine"
}

/** The settings of a module: its own, or those of the whole model. */
function moduleSettings(checkpoint: Checkpoint, module: string): JsonObject | undefined {
  const settings = settingsOf(checkpoint)
  const own = settings?.get(module)
  return isJsonObject(own) ? own : settings
}

function isWords(codes: StoredTensor): boolean {
  return codes.dtype === "U32" && codes.name.endsWith(CODES) && codes.shape.length >= 2
}

function matchAffine(codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (!isWords(codes)) return undefined
  const module = codes.name.slice(0, -CODES.length)
  const scales = context.tensor(`${module}.scales`)
  if (scales === undefined || scales.dtype === "U8") return undefined
  const biases = context.tensor(`${module}.biases`)
  if (biases === undefined) missingPart(codes, "MLX codes without biases", `${module}.biases`, context)
  const dtype = floatDtype(scales)
  requireDtype(biases, "biases", [dtype])
  requireShape(biases, "biases", scales.shape)
  const grid = gridOf(codes, scales)
  const { bits, group } = affineForm(codes, grid, moduleSettings(context.checkpoint, module))
  return affineWeight(codes, [scales, biases], grid, dtype, bits, group)
}

interface Grid {
  readonly leading: readonly number[]
  readonly batch: number
  readonly rows: number
  /** 32-bit words in a row. */
  readonly words: number
  readonly groups: number
}

function gridOf(codes: StoredTensor, scales: StoredTensor): Grid {
  const leading = codes.shape.slice(0, -2)
  const rows = codes.shape.at(-2)!
  const words = codes.shape.at(-1)!
  const groups = scales.shape.at(-1) ?? 0
  if (elementCount(codes.shape) === 0 || groups === 0) {
    throw tensorFault(codes.file.path, codes.name, "quantized weight without values", { found: shapeText(codes.shape) })
  }
  requireShape(scales, "MLX scales", [...leading, rows, groups])
  return { leading, batch: elementCount(leading)!, rows, words, groups }
}

/** Bits and group size; throws MalformedError where they are declared otherwise, or not at all and cannot be told. */
function affineForm(
  codes: StoredTensor,
  { words, groups }: Grid,
  settings: JsonObject | undefined,
): { readonly bits: number; readonly group: number } {
  const fits = (bits: number, group: number): boolean => words * 32 === groups * group * bits
  const bits = jsonInteger(settings?.get("bits"))
  const group = jsonInteger(settings?.get("group_size"))
  if (bits !== undefined && group !== undefined) {
    if (AFFINE_BITS.includes(bits) && group > 0 && fits(bits, group)) return { bits, group }
    throw tensorFault(codes.file.path, codes.name, "does not have the declared bits and group size", {
      expected: `${bits} bits in groups of ${group}`,
      found: `${words} words for ${groups} groups`,
    })
  }
  const forms = AFFINE_BITS.flatMap((b) => AFFINE_GROUPS.map((g) => ({ bits: b, group: g })))
  const possible = forms.filter((form) => fits(form.bits, form.group))
  if (possible.length === 1) return possible[0]!
  throw tensorFault(codes.file.path, codes.name, "MLX codes whose bits nothing declares", {
    expected: "bits and group_size in the quantization of config.json",
    found: `${words} words for ${groups} groups`,
    hint: "name the folder with the config.json",
  })
}

function affineWeight(
  codes: StoredTensor,
  sides: readonly [StoredTensor, StoredTensor],
  grid: Grid,
  dtype: FloatDtype,
  bits: number,
  group: number,
): Weight {
  const [scales, biases] = sides
  const columns = grid.groups * group
  const width = dtype === "F32" ? 4 : 2
  return {
    name: codes.name,
    scheme: mlxAffine.name,
    codec: "mlx_affine",
    sources: [
      rowSource("codes", codes, grid, grid.words * 4, [8, bits]),
      rowSource("scales", scales, grid, grid.groups * width, [group, width]),
      rowSource("biases", biases, grid, grid.groups * width, [group, width]),
    ],
    batch: grid.batch,
    rows: grid.rows,
    columns,
    rowAlign: 1,
    columnAlign: 32,
    parameters: integerParameters({ bits, dtype, width: group, arithmetic: dtype }),
    shape: [...grid.leading, grid.rows, columns],
    orientation: "as-stored",
  }
}

function rowSource(
  role: string,
  tensor: StoredTensor,
  { batch, rows }: Grid,
  lineBytes: number,
  [unitColumns, unitBytes]: readonly [number, number],
): WeightSource {
  const batchBytes = batch === 1 ? 0 : rows * lineBytes
  return { role, tensor, rowsPerLine: 1, lineBytes, batchBytes, unitColumns, unitBytes }
}

function matchFloat(mode: FloatMode, scheme: string, codes: StoredTensor, context: MatchContext): Weight | undefined {
  if (!isWords(codes)) return undefined
  const module = codes.name.slice(0, -CODES.length)
  const scales = context.tensor(`${module}.scales`)
  if (scales?.dtype !== "U8") return undefined
  const grid = gridOf(codes, scales)
  const product = (grid.words * 32) / grid.groups
  const found = FLOAT_MODE_NAMES.find((name) => FLOAT_MODES[name].bits * FLOAT_MODES[name].group === product)
  if (found === undefined) {
    throw tensorFault(scales.file.path, scales.name, "MLX scales have the wrong shape", {
      expected: "groups of 32 columns (mxfp4, mxfp8) or 16 (nvfp4)",
      found: `${grid.groups} for ${grid.words} words`,
    })
  }
  if (found !== mode) return undefined
  const whole = context.tensor(`${module}.global_scale`)
  if (whole !== undefined && mode !== "nvfp4") refuseWhole(whole, mode)
  const columns = grid.groups * FLOAT_MODES[mode].group
  if (mode === "mxfp4") {
    const shape = [...grid.leading, grid.rows, grid.groups]
    const names = { name: codes.name, scheme, orientation: "as-stored" } as const
    return mxfp4Weight({ ...names, codes, scales, grid: shape, lastScale: "infinite" })
  }
  const isNvfp4 = mode === "nvfp4"
  const { group } = FLOAT_MODES[mode]
  return {
    name: codes.name,
    scheme,
    codec: isNvfp4 ? "nvfp4" : "fp8_e4m3",
    sources: [
      rowSource("codes", codes, grid, grid.words * 4, isNvfp4 ? [2, 1] : [1, 1]),
      rowSource("scales", scales, grid, grid.groups, [group, 1]),
      ...(whole === undefined ? [] : [wholeSource(whole, grid)]),
    ],
    batch: grid.batch,
    rows: grid.rows,
    columns,
    rowAlign: 1,
    columnAlign: isNvfp4 ? group : 1,
    parameters: isNvfp4 ? [whole === undefined ? 0 : MAGNITUDE] : [E8M0, group],
    shape: [...grid.leading, grid.rows, columns],
    orientation: "as-stored",
  }
}

/** The largest magnitude of each matrix, F32. */
function wholeSource(tensor: StoredTensor, { batch, leading }: Grid): WeightSource {
  requireDtype(tensor, "MLX global_scale", ["F32"])
  // One matrix may have it as a scalar, or in one dimension.
  requireShape(tensor, "MLX global_scale", tensor.shape.length === 0 || batch > 1 ? leading : [1])
  const batchBytes = batch === 1 ? 0 : 4
  return { role: "global scale", tensor, rowsPerLine: 0, lineBytes: 4, batchBytes, unitColumns: 0, unitBytes: 0 }
}

function refuseWhole(whole: StoredTensor, mode: FloatMode): never {
  const what = `a scale of the whole in MLX's ${mode} is not supported`
  throw new UnsupportedError(tensorLine(whole.file.path, whole.name, what), { hint: "only nvfp4 has one" })
}
