"""Golden vectors of NVFP4: modelopt's dialect, whose scale of the whole multiplies, and compressed-tensors', where it
divides, and MLX's, where a part of it multiplies; every code with every scale, and trained weights.

The expected bits are those of recipe_scaled.py. Before they are written the libraries must agree on every element, NaN
by class: nvidia-modelopt in all three dtypes, compressed-tensors in bfloat16, mlx in float32, which is all they give.
"""

import mlx.core as mx
import numpy as np
import recipe
import recipe_scaled
import recipe_torch
import torch
from compressed_tensors.compressors.nvfp4.base import NVFP4PackedCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from modelopt.torch.quantization.qtensor.nvfp4_tensor import NVFP4QTensor

import scaled
import trained
import vector

SEED = 20240318
LIBRARIES = ("numpy", "ml_dtypes", "torch", "compressed-tensors", "nvidia-modelopt", "mlx")
TENSOR = "encoder.layer.4.attention.self.query.weight"
WHOLE = {None: 0, "multiply": 1, "divide": 2, "magnitude": 3}


def check_modelopt(packed: np.ndarray, scales: np.ndarray, whole: np.float32, values: np.ndarray) -> None:
    groups = torch.from_numpy(scales).view(torch.float8_e4m3fn)
    for dtype in recipe_torch.DTYPES.values():
        tensor = NVFP4QTensor(torch.Size(values.shape), dtype, torch.from_numpy(packed))
        double = torch.tensor(whole)
        theirs = tensor.dequantize(dtype, scale=groups, double_scale=double, block_sizes={-1: 16})
        scaled.agree_torch("modelopt", values, theirs)


def check_compressed(packed: np.ndarray, scales: np.ndarray, whole: np.float32, values: np.ndarray) -> None:
    args = QuantizationArgs(num_bits=4, type="float", strategy="tensor_group", group_size=16)
    state = {
        "weight_packed": torch.from_numpy(packed),
        "weight_scale": torch.from_numpy(scales).view(torch.float8_e4m3fn),
        "weight_global_scale": torch.tensor([whole]),
    }
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    scaled.agree_torch("compressed-tensors", values, NVFP4PackedCompressor.decompress(state, scheme)["weight"])


def check_mlx(packed: np.ndarray, scales: np.ndarray, whole: np.float32, values: np.ndarray) -> None:
    with mx.stream(mx.cpu):
        theirs = mx.dequantize(
            mx.array(packed.view(np.uint32)), mx.array(scales), mode="nvfp4", global_scale=mx.array(whole)
        )
    scaled.agree("mlx", values, np.array(theirs))


def make(
    name: str,
    packed: np.ndarray,
    scales: np.ndarray,
    whole: float | None,
    how: str | None,
    kind: str,
    columns: np.ndarray | None = None,
) -> str:
    """packed uint8 [rows, columns / 2], scales uint8 [rows, columns / 16]; `columns`: float32 factors of columns."""
    rows = len(packed)
    factor = np.float32(1 if whole is None else whole)
    zero = 0.0 if how == "multiply" else -0.0
    part = factor / np.float32(448 * 6) if how == "magnitude" else factor
    values = recipe_scaled.nvfp4(packed, scales, part, how == "divide", zero)
    if how == "multiply":
        check_modelopt(packed, scales, factor, values)
    elif how == "divide":
        check_compressed(packed, scales, factor, values)
    elif how == "magnitude":
        check_mlx(packed, scales, factor, values)
    sources = [vector.source("codes", packed, rows, 2, 1), vector.source("scales", scales, rows, 16, 1)]
    if how is not None:
        place = {"role": "whole", "rows_per_line": 0, "line_bytes": 4, "unit_columns": 0, "unit_bytes": 0}
        sources.append(place | {"hex": factor.tobytes().hex()})
    if columns is not None:
        values = recipe_scaled.scaled(values, columns)
        place = {"rows_per_line": 0, "line_bytes": columns.nbytes, "unit_columns": 1, "unit_bytes": 4}
        sources.append({"role": "columns", **place, "hex": columns.tobytes().hex()})
    parameters = [WHOLE[how], int(how == "multiply"), 0 if columns is None else scaled.SCALES["F32"]]
    expect = {dtype: recipe.canonical(recipe.rounded(values, dtype)) for dtype in ("BF16", "F16", "F32")}
    provenance = {
        "made_by": "test/vectors/make.py",
        "tools": vector.tools(*LIBRARIES),
        "data": {"kind": kind, "generator": "numpy.random.default_rng", "seed": SEED},
        "recipe": "E2M1 * (E4M3 times or divided by the scale of the whole), each rounded to float32",
    }
    return vector.write(name, "nvfp4", rows, values.shape[1], sources, expect, provenance, parameters=parameters)


def exhaustive() -> tuple[np.ndarray, np.ndarray]:
    """16 rows of 16 groups: all scales, and every code in each group."""
    codes = np.arange(16, dtype=np.uint8)
    group = np.roll(codes, 3)
    packed = np.tile(group[0::2] | group[1::2] << 4, (16, 16))
    return packed, np.arange(256, dtype=np.uint8).reshape(16, 16)


def make_all() -> list[str]:
    packed, scales = exhaustive()
    everything = "all codes with all scales"
    weights = torch.from_numpy(trained.tensor(TENSOR)[:8, :112].copy())
    quantized, groups, whole = NVFP4QTensor.quantize(weights, 16)
    theirs = quantized._quantized_data.numpy(), groups.view(torch.uint8).numpy(), whole.numpy()
    columns = np.random.default_rng(SEED).random(112, dtype=np.float32) + np.float32(0.5)
    part = "trained, " + TENSOR
    return [
        make("nvfp4", packed, scales, 0.0123, "multiply", everything),
        make("nvfp4-divide", packed, scales, 31.7, "divide", everything),
        make("nvfp4-large", packed[:4], scales[4:8], 3e36, "multiply", everything),
        make("nvfp4-small", packed[:4], scales[:4], 3e36, "divide", everything),
        make("nvfp4-zero", packed[:1], scales[:1], 0, "divide", everything),
        make("nvfp4-magnitude", packed, scales, 7.7, "magnitude", everything),
        make("nvfp4-groups", packed[:4], scales[2:6], None, None, everything),
        make("nvfp4-trained", *theirs, "multiply", part),
        make("nvfp4-columns", *theirs, "multiply", part, columns),
    ]
