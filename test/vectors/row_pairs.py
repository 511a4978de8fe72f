"""Golden vectors of codes of which two rows share a byte: modelopt's INT4 AWQ, and NVFP4 experts that it transposes.

modelopt packs them here. The library has no dequantizer of this packing of INT4, so that its dense values are the
integers that were packed, times their scales.
"""

import numpy as np
import recipe
import recipe_scaled
import recipe_torch
import torch
from modelopt.torch.export.quant_utils import maybe_transpose_expert_weight_dimensions, pack_int4_in_uint8
from modelopt.torch.quantization.qtensor.nvfp4_tensor import NVFP4QTensor

import scaled
import trained
import vector

LIBRARIES = ("numpy", "ml_dtypes", "torch", "nvidia-modelopt")
TENSOR = "encoder.layer.1.attention.output.dense.weight"


def signed(packed: np.ndarray) -> np.ndarray:
    """uint8 [rows / 2, columns] -> float32 [rows, columns] of two's complement nibbles, the low one's row first."""
    nibbles = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1, packed.shape[1])
    return ((nibbles ^ 8).astype(np.int32) - 8).astype(np.float32)


def codes_source(packed: np.ndarray) -> dict:
    source = vector.source("codes", packed, len(packed), 1, 1)
    return source | {"rows_per_line": 2}


def make(name: str, codec: str, values: np.ndarray, sources: list, parameters: list) -> str:
    expect = {dtype: recipe.canonical(recipe.rounded(values, dtype)) for dtype in ("BF16", "F16", "F32")}
    provenance = {
        "made_by": "test/vectors/make.py",
        "tools": vector.tools(*LIBRARIES),
        "data": {"kind": "trained, " + TENSOR, "sha256": trained.model_sha256()},
        "recipe": "element * (scale times the scale of the whole), each rounded to float32",
    }
    return vector.write(name, codec, *values.shape, sources, expect, provenance, parameters=parameters)


def int4() -> str:
    weights = torch.from_numpy(trained.tensor(TENSOR)[:12, :96].copy())
    group = 32
    scales = (weights.reshape(12, -1, group).abs().amax(-1) / 7).to(torch.bfloat16)
    wide = scales.to(torch.float32)
    packed = pack_int4_in_uint8(weights, wide, group).numpy()
    integers = signed(packed)
    spread = wide.repeat_interleave(group, 1)
    assert (integers == (weights / spread).round().clamp(-8, 7).numpy()).all()
    columns = np.linspace(0.5, 2, 96, dtype=np.float32)
    values = recipe_scaled.scaled(recipe_scaled.scaled(integers, spread.numpy()), columns)
    stored = recipe_torch.to_numpy(scales)
    whole = {"rows_per_line": 0, "line_bytes": columns.nbytes, "unit_columns": 1, "unit_bytes": 4}
    sources = [
        codes_source(packed),
        vector.source("scales", stored, 12, group, 2),
        {"role": "columns", **whole, "hex": columns.tobytes().hex()},
    ]
    return make("int4_row_pairs", "int4_row_pairs", values, sources, [scaled.SCALES["BF16"], group, 0, 1])


def nvfp4() -> str:
    """[out, in] is quantized, and stored as [in / 2, out]."""
    weights = torch.from_numpy(trained.tensor(TENSOR)[:24, :64].copy())
    quantized, scales, whole = NVFP4QTensor.quantize(weights, 16)
    stacked = quantized._quantized_data[None], scales.view(torch.uint8)[None]
    packed, turned = maybe_transpose_expert_weight_dimensions(*stacked)
    packed, turned = packed[0].contiguous().numpy(), turned[0].contiguous().numpy()
    factor = whole.numpy().astype(np.float32)
    codes = quantized._quantized_data.numpy()
    values = recipe_scaled.nvfp4(codes, scales.view(torch.uint8).numpy(), factor, False, 0.0)
    theirs = quantized.dequantize(torch.float32, scale=scales, double_scale=whole, block_sizes={-1: 16})
    scaled.agree_torch("modelopt", values, theirs)
    line = {"rows_per_line": 16, "line_bytes": turned.shape[1], "unit_columns": 1, "unit_bytes": 1}
    one = {"rows_per_line": 0, "line_bytes": 4, "unit_columns": 0, "unit_bytes": 0}
    sources = [
        codes_source(packed),
        {"role": "scales", **line, "hex": turned.tobytes().hex()},
        {"role": "whole", **one, "hex": factor.tobytes().hex()},
    ]
    dense = np.ascontiguousarray(values.T)
    return make("nvfp4_row_pairs", "nvfp4_row_pairs", dense, sources, [scaled.SCALES["E4M3"], 1, 1, 0])


def make_all() -> list[str]:
    return [int4(), nvfp4()]
