"""Golden vectors of small floats under scales: FP8 with its dialects of scales, MXFP8 and MXFP6.

The expected bits are those of recipe_scaled.py. Before they are written, the libraries that the dialects come from must
agree on every element, NaN by class: torch and transformers for FP8 in blocks, compressed-tensors for its formats.
"""

import numpy as np
import recipe
import recipe_scaled
import recipe_torch
import torch
from compressed_tensors.compressors.mxfp6.base import MXFP6PackedCompressor
from compressed_tensors.compressors.mxfp8.base import MXFP8QuantizationCompressor
from compressed_tensors.compressors.naive_quantized.base import FloatQuantizationCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from transformers.integrations.finegrained_fp8 import Fp8Dequantize

import trained
import vector

SEED = 20220911
LIBRARIES = ("numpy", "ml_dtypes", "torch", "transformers", "compressed-tensors")
TENSOR = "encoder.layer.2.output.dense.weight"
# The numbers of scale.zig and scaled.zig.
SCALES = {"F32": 1, "F16": 2, "BF16": 3, "E8M0": 4, "E8M0FNU": 5, "E4M3": 6}
ROUNDINGS = {None: 0, "F16": 1, "BF16": 2}
TORCH_ELEMENTS = {
    "e4m3": torch.float8_e4m3fn,
    "e5m2": torch.float8_e5m2,
    "e4m3fnuz": torch.float8_e4m3fnuz,
    "e5m2fnuz": torch.float8_e5m2fnuz,
}
# Scales at which products round, overflow, underflow, or are no numbers.
EDGES = np.array(
    [1.0, 0.00021362305, -0.3333333, 2.0**-149, 1.1754944e-38, 3.4028235e38, 7.0e35, 146.5, 1.0e-40, 0.0]
    + [np.inf, np.nan],
    dtype=np.float32,
)


def f32_of(scales: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "E8M0":
        return recipe_scaled.e8m0(scales, np.inf)
    if dtype == "E8M0FNU":
        return recipe_scaled.e8m0(scales, np.nan)
    if dtype == "E4M3":
        return recipe_scaled.elements(scales, "e4m3")
    return scales.astype(np.float32)


def agree(name: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Values of one dtype; bits, NaN by class."""
    different = recipe.canonical(ours) != recipe.canonical(theirs)
    assert ours.shape == theirs.shape and not different.any(), f"{name}: {different.sum()} differ"


def agree_torch(name: str, values: np.ndarray, theirs: torch.Tensor) -> None:
    """`values`: float32 by the recipe; compared in the dtype that the library has."""
    dtype = {dtype: name for name, dtype in recipe_torch.DTYPES.items()}[theirs.dtype]
    kind = recipe.DENSE[dtype]
    agree(name, recipe.rounded(values, dtype), recipe_torch.to_numpy(theirs).view(kind))


def make(
    name: str,
    codec: str,
    codes: np.ndarray,
    scales: np.ndarray | None,
    dtype: str = "F32",
    block: tuple = (1, 0),
    rounding: str | None = None,
    kind: str = "all codes",
    check=lambda values: None,
) -> str:
    """codes uint8 [rows, ...] as stored; scales [ceil(rows / block[0]), ...]. block[i] 0: all rows, all columns."""
    format = codec.split("_")[1]
    six = codec.startswith("mxfp6")
    values = recipe_scaled.elements(recipe_scaled.six_bits(codes) if six else codes, format)
    rows, columns = values.shape
    sources = [vector.source("codes", codes, rows, *((4, 3) if six else (1, 1)))]
    parameters = []
    if scales is not None:
        full = (block[0] or rows, block[1] or columns)
        spread = recipe_scaled.spread(f32_of(scales, dtype), (rows, columns), full)
        values = recipe_scaled.scaled(values, spread, rounding)
        width = scales.dtype.itemsize
        place = {"unit_columns": block[1], "unit_bytes": width if block[1] else 0}
        sources.append({"role": "scales", "rows_per_line": block[0], "line_bytes": scales.shape[1] * width} | place)
        sources[1]["hex"] = np.ascontiguousarray(scales).tobytes().hex()
        parameters = [SCALES[dtype], block[1], ROUNDINGS[rounding]]
    check(values)
    expect = {name: recipe.canonical(recipe.rounded(values, name)) for name in ("BF16", "F16", "F32")}
    provenance = {
        "made_by": "test/vectors/make.py",
        "tools": vector.tools(*LIBRARIES),
        "data": {"kind": kind, "generator": "numpy.random.default_rng", "seed": SEED},
        "recipe": "element * scale in float32, rounded to nearest even; NaN as the positive quiet one",
    }
    return vector.write(name, codec, rows, columns, sources, expect, provenance, parameters=parameters)


def exhaustive(format: str) -> str:
    """Every code in every row; a row for each scale of EDGES."""
    codes = np.tile(np.arange(256, dtype=np.uint8), (len(EDGES), 1))

    def check(values: np.ndarray) -> None:
        wide = torch.from_numpy(codes).view(TORCH_ELEMENTS[format]).to(torch.float32)
        agree_torch(f"torch {format}", values, wide * torch.from_numpy(EDGES[:, None]))

    return make(f"fp8_{format}", f"fp8_{format}", codes, EDGES[:, None], check=check)


def weights(rows: int, columns: int) -> np.ndarray:
    return trained.tensor(TENSOR)[:rows, :columns]


def quantize(values: np.ndarray, block: tuple, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """float32 -> E4M3 codes and the grid of scales that lets each block's largest magnitude become 448."""
    grid = tuple(-(-size // edge) for size, edge in zip(values.shape, block))
    scales = np.empty(grid, dtype=dtype)
    for i, j in np.ndindex(grid):
        part = values[i * block[0] : (i + 1) * block[0], j * block[1] : (j + 1) * block[1]]
        scales[i, j] = np.abs(part).max() / 448
    spread = recipe_scaled.spread(scales.astype(np.float32), values.shape, block)
    codes = np.clip(values / spread, -448, 448).astype(recipe_scaled.ELEMENTS["e4m3"]).view(np.uint8)
    return codes, scales


def blocks(name: str, shape: tuple, block: tuple, dtype: str) -> str:
    """Trained weights in blocks, as DeepSeek-V3 stores them; transformers has to agree where the blocks divide."""
    codes, scales = quantize(weights(*shape), block, recipe.DENSE[dtype])

    def check(values: np.ndarray) -> None:
        if shape[0] % block[0] or shape[1] % block[1]:
            return
        quantized = torch.from_numpy(codes).view(torch.float8_e4m3fn)
        wide = torch.from_numpy(scales.astype(np.float32))
        theirs = Fp8Dequantize(None)._dequantize_one(quantized, wide.to(recipe_torch.DTYPES[dtype]), torch.bfloat16)
        agree_torch("transformers", values, theirs)

    return make(name, "fp8_e4m3", codes, scales, dtype, block, kind="trained, " + TENSOR, check=check)


def compressed(name: str, dtype: str, strategy: str) -> str:
    """Trained weights by compressed-tensors, which has to agree; scales in `dtype`, the product too."""
    shape, block = {"channel": ((12, 96), (1, 0)), "tensor": ((8, 96), (0, 0)), "group": ((6, 96), (1, 32))}[strategy]
    full = (block[0] or shape[0], block[1] or shape[1])
    codes, scales = quantize(weights(*shape), full, recipe.DENSE[dtype])

    def check(values: np.ndarray) -> None:
        group = {"group_size": block[1]} if strategy == "group" else {}
        args = QuantizationArgs(num_bits=8, type="float", strategy=strategy, **group)
        stored = torch.from_numpy(scales.astype(np.float32)).to(recipe_torch.DTYPES[dtype])
        state = {"weight": torch.from_numpy(codes).view(torch.float8_e4m3fn), "weight_scale": stored}
        scheme = QuantizationScheme(targets=["Linear"], weights=args)
        agree_torch("compressed-tensors", values, FloatQuantizationCompressor.decompress(state, scheme)["weight"])

    return make(name, "fp8_e4m3", codes, scales, dtype, block, dtype, "trained, " + TENSOR, check)


def microscaled() -> list[str]:
    """E8M0 scales of the whole range, as a plain byte and under its own dtype: MXFP8 and MXFP6."""
    generator = np.random.default_rng(SEED)
    codes = generator.integers(0, 256, (8, 256), dtype=np.uint8)
    scales = np.concatenate([np.arange(0, 256, 5), [1, 2, 3, 4, 104, 119, 126, 127, 128, 140, 141, 254]])
    scales = scales.astype(np.uint8).reshape(8, 8)
    args = QuantizationArgs(num_bits=8, type="float", strategy="group", group_size=32, scale_dtype=torch.uint8)

    def check8(values: np.ndarray) -> None:
        state = {"weight": torch.from_numpy(codes).view(torch.float8_e4m3fn), "weight_scale": torch.from_numpy(scales)}
        scheme = QuantizationScheme(targets=["Linear"], weights=args)
        agree_torch("compressed-tensors", values, MXFP8QuantizationCompressor.decompress(state, scheme)["weight"])

    def check_dtype(values: np.ndarray) -> None:
        quantized = torch.from_numpy(codes).view(torch.float8_e4m3fn)
        stored = torch.from_numpy(scales).view(torch.float8_e8m0fnu)
        agree_torch("transformers", values, Fp8Dequantize(None)._dequantize_one(quantized, stored, torch.float32))

    six = generator.integers(0, 256, (8, 192), dtype=np.uint8)

    def check6(values: np.ndarray) -> None:
        state = {"weight_packed": torch.from_numpy(six), "weight_scale": torch.from_numpy(scales)}
        scheme = QuantizationScheme(targets=["Linear"], weights=args.model_copy(update={"num_bits": 6}))
        agree_torch("compressed-tensors", values, MXFP6PackedCompressor.decompress(state, scheme)["weight"])

    return [
        make("fp8_e4m3-mx", "fp8_e4m3", codes, scales, "E8M0", (1, 32), "BF16", "random", check8),
        make("fp8_e4m3-e8m0", "fp8_e4m3", codes, scales, "E8M0FNU", (1, 32), None, "random", check_dtype),
        make("mxfp6_e2m3", "mxfp6_e2m3", six, scales, "E8M0", (1, 32), "BF16", "random", check6),
        make("mxfp6_e3m2", "mxfp6_e3m2", six, scales, "E8M0", (1, 32), None, "random"),
    ]


def make_all() -> list[str]:
    generator = np.random.default_rng(SEED)
    codes = generator.integers(0, 256, (3, 77), dtype=np.uint8)
    columns = generator.random((1, 77), dtype=np.float32)
    return [
        *[exhaustive(format) for format in TORCH_ELEMENTS],
        blocks("fp8_e4m3-block", (16, 128), (8, 64), "F32"),
        blocks("fp8_e4m3-block-bf16", (16, 128), (8, 64), "BF16"),
        blocks("fp8_e4m3-ragged", (13, 150), (8, 64), "F32"),
        compressed("fp8_e4m3-channel", "BF16", "channel"),
        compressed("fp8_e4m3-tensor", "F16", "tensor"),
        compressed("fp8_e4m3-group", "BF16", "group"),
        make("fp8_e4m3-columns", "fp8_e4m3", codes, columns, "F32", (0, 1), kind="random"),
        make("fp8_e4m3-unscaled", "fp8_e4m3", codes, None, kind="random"),
        *microscaled(),
    ]
