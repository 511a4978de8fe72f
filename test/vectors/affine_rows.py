"""Golden vectors of HQQ, BitNet and AWQ's GEMV layout: random bytes, which hold every code and every zero.

The expected bits are those of numpy. transformers must agree on the codes of BitNet and, where
requirements-quantizers.txt is installed, hqq on every element.
"""

import importlib.util

import ml_dtypes
import numpy as np
import recipe
import recipe_affine
import torch
import torch._dynamo

import affine
import scaled
import vector

torch._dynamo.config.disable = True  # unpack_weights is compiled, which takes a C compiler
from transformers.integrations.bitnet import unpack_weights  # noqa: E402

SEED = 20240227
HAS_HQQ = importlib.util.find_spec("hqq") is not None
LIBRARIES = ("numpy", "ml_dtypes", "torch", "transformers") + (("hqq",) if HAS_HQQ else ())
DTYPES = {"F16": np.float16, "F32": np.float32, "BF16": ml_dtypes.bfloat16}


def write(name: str, codec: str, values: np.ndarray, sources: list, parameters: list, batch: int = 0) -> str:
    expect = {dtype: recipe.canonical(recipe.rounded(values, dtype)) for dtype in ("BF16", "F16", "F32")}
    provenance = {
        "made_by": "test/vectors/make.py",
        "tools": vector.tools(*LIBRARIES),
        "data": {"kind": "random bytes", "generator": "numpy.random.default_rng", "seed": SEED},
        "recipe": "(code - zero) * scale in float32; hqq rounds both to the dtype of the scale",
    }
    return vector.write(
        name, codec, *values.shape, sources, expect, provenance, parameters=parameters, batch=batch
    )


def agree_hqq(packed: np.ndarray, parts: list, bits: int, axis: int, shape: tuple, dtype: str) -> np.ndarray:
    """hqq's own dense matrix, in float32."""
    from hqq.core.quantize import Quantizer

    kind = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}[dtype]
    scale, zero = (torch.from_numpy(part.astype(np.float32)).to(kind) for part in parts)
    meta = {"packing": Quantizer.bit_to_packing[bits], "nbits": bits, "axis": axis, "shape": shape}
    meta |= {"view_as_float": False, "compute_dtype": kind, "scale": scale, "zero": zero}
    return Quantizer.dequantize(torch.from_numpy(packed), meta).float().numpy()


def hqq(name: str, bits: int, dtype: str, axis: int = 1, group: int = 16, item: int = 0) -> str:
    """A matrix of 16 rows and 48 columns; `item`: which part of its rows, of those that share bytes."""
    generator = np.random.default_rng([SEED, bits, axis])
    per = 8 // bits
    rows, columns = (16, 48) if axis == 1 else (group, 16 * 48 // group)
    packed = generator.integers(0, 256, (rows // per, columns), dtype=np.uint8)
    codes = np.concatenate([packed >> 8 - bits * (i + 1) & 2**bits - 1 for i in range(per)])
    count = 16 * 48 // group
    scales = (generator.random(count) / 64 + 0.001).astype(DTYPES[dtype])
    zeros = (generator.random(count) * 2**bits).astype(DTYPES[dtype])
    scales[:3] = [0, 60000, 6e-5]
    if axis == 1:
        wide = [np.repeat(part.reshape(rows, -1).astype(np.float32), group, axis=1) for part in (scales, zeros)]
        stored = packed.reshape(-1, group), [scales[:, None], zeros[:, None]]
    else:
        wide = [np.broadcast_to(part.astype(np.float32), codes.shape) for part in (scales, zeros)]
        stored = packed, [scales[None], zeros[None]]

    def rounded(values: np.ndarray) -> np.ndarray:
        return recipe.rounded(values, dtype).astype(np.float32)

    with np.errstate(all="ignore"):
        values = rounded(rounded(codes - wide[1]) * wide[0])
    if HAS_HQQ:
        theirs = agree_hqq(*stored, bits, axis, values.shape, dtype)
        scaled.agree("hqq", values, theirs)
    part = slice(item * rows // per, (item + 1) * rows // per)
    width = group if axis == 1 else 1
    sources = [vector.source("codes", packed, len(packed), 1, 1)]
    for role, data in (("scales", scales), ("zeros", zeros)):
        grid = data.reshape(rows, -1)[part] if axis == 1 else data[None]
        source = vector.source(role, grid, len(grid), width, data.itemsize)
        sources.append(source if axis == 1 else source | {"rows_per_line": 0})
    return write(name, "hqq", values[part], sources, [scaled.SCALES[dtype], width, bits], item)


def bitnet(name: str, how: str, dtype: str, item: int) -> str:
    packed = np.random.default_rng(SEED).integers(0, 256, (6, 40), dtype=np.uint8)
    codes = packed >> 2 * item & 3
    theirs = unpack_weights(torch.from_numpy(packed), torch.float32)[6 * item : 6 * item + 6].numpy()
    ternary = codes.astype(np.float32) - 1
    assert (theirs == ternary).all()
    scale = np.array([1.21875], DTYPES[dtype])
    wide = scale.astype(np.float32)
    values = ternary / wide if how == "divide" else ternary * wide
    sources = [vector.source("codes", packed, 6, 1, 1), affine.whole_source("scales", scale)]
    return write(name, "bitnet", values, sources, [scaled.SCALES[dtype], 0, int(how == "multiply")], item)


def gemv() -> str:
    generator = np.random.default_rng(SEED)
    rows, columns, group = 6, 96, 32
    packed = affine.words(generator, rows, columns // 8)
    zeros = affine.words(generator, rows, 4)
    scales = np.zeros((rows, 32), np.float16)
    scales[:, :3] = generator.standard_normal((rows, 3)) / 64
    scales[0, 0] = 60000
    codes, offsets = recipe_affine.fields(packed, 4), recipe_affine.fields(zeros, 4)
    spread = np.arange(columns) // group
    values = recipe_affine.affine(codes, offsets[:, spread], scales[:, spread])
    sources = [
        vector.source("codes", packed, rows, 2, 1),
        vector.source("scales", scales[:, :3], rows, group, 2),
        vector.source("zeros", zeros.view(np.uint8)[:, :2], rows, 2 * group, 1),
    ]
    return write("awq_gemv", "awq_gemv", values, sources, [scaled.SCALES["F16"], group])


def make_all() -> list[str]:
    return [
        hqq("hqq-4bit", 4, "F16"),
        hqq("hqq-4bit-second", 4, "BF16", item=1),
        hqq("hqq-8bit", 8, "F32"),
        hqq("hqq-2bit", 2, "F16", item=2),
        hqq("hqq-1bit", 1, "F16", item=7),
        hqq("hqq-columns", 4, "F16", axis=0, item=1),
        bitnet("bitnet", "divide", "BF16", 0),
        bitnet("bitnet-multiply", "multiply", "F32", 3),
        gemv(),
    ]
