"""Golden vectors of MXFP4: every code with every scale, random blocks, and trained weights.

The expected bits are the numpy recipe's. Before they are written, five other implementations must agree with them on
every element, save where `DIFFERENCES` says that a library treats the scale byte 255, or the sign of zero, in its way.
"""

import gguf
import ml_dtypes
import numpy as np
import recipe
import recipe_torch
import torch
from compressed_tensors.compressors.mxfp4.base import MXFP4PackedCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

import trained
import vector

SEED = 20250805
LIBRARIES = ("numpy", "ml_dtypes", "torch", "transformers", "compressed-tensors", "gguf")
DIFFERENCES = {
    "rule": "e = 255 is 2^128: codes 0 and 8 are zeros, 1 and 9 are 2^127, the others infinite; code 8 is -0",
    "torch, transformers": "as the rule with torch 2.15, whose ldexp scales the exponent; older versions multiplied by "
    "2^128 = inf, which makes codes 0 and 8 NaN and all others infinite",
    "compressed-tensors": "multiplies by 2^128 = inf, so codes 0 and 8 are NaN: vector mxfp4-infinite, parameter 1",
    "ml_dtypes": "E8M0 255 is NaN, as OCP MX v1.0 has it: all 16 codes are NaN",
    "gguf": "as the rule, but code 8 is +0 for every e",
}


def from_ml_dtypes(blocks: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """float32 by the element types of ml_dtypes."""
    values = recipe.nibbles(blocks).view(ml_dtypes.float4_e2m1fn).astype(np.float32)
    factors = scales.view(ml_dtypes.float8_e8m0fnu).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        return (values * factors[..., None]).reshape(scales.shape[0], -1)


def from_gguf(blocks: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """float32 by gguf, whose block is e and 16 bytes that hold value j in the low and j + 16 in the high nibble."""
    codes = recipe.nibbles(blocks)
    packed = codes[..., :16] | codes[..., 16:] << 4
    data = np.concatenate([scales[..., None], packed], axis=-1).reshape(scales.shape[0], -1)
    with np.errstate(over="ignore", invalid="ignore"):
        return gguf.quants.dequantize(data, gguf.GGMLQuantizationType.MXFP4)


def from_transformers(blocks: torch.Tensor, scales: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """transformers' converter turns [E, out, in] into [E, in, out]; turned back here."""
    return convert_moe_packed_tensors(blocks[None], scales[None], dtype=dtype)[0].T.contiguous()


def from_compressed_tensors(blocks: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """bfloat16 by the decompressor of `mxfp4-pack-quantized`."""
    args = QuantizationArgs(num_bits=4, type="float", strategy="group", group_size=32, scale_dtype=torch.uint8)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    state = {"weight_packed": blocks.flatten(-2), "weight_scale": scales}
    return MXFP4PackedCompressor.decompress(state, scheme)["weight"]


def agree(
    name: str, ours: np.ndarray, theirs: np.ndarray, scales: np.ndarray, last_scale: bool, sign_of_zero: bool
) -> None:
    """Bits, NaN by class. The flags say whether e = 255 and the sign of zero have to agree too."""
    ours, theirs = recipe.canonical(ours), recipe.canonical(theirs)
    assert ours.shape == theirs.shape, (name, ours.shape, theirs.shape)
    different = ours != theirs
    if not last_scale:
        different &= np.repeat(scales != 255, 32, axis=-1)
    if not sign_of_zero:
        sign = ours.dtype.type(1 << (8 * ours.dtype.itemsize - 1))
        different &= (ours | theirs) & ~sign != 0
    assert not different.any(), f"{name}: {different.sum()} elements differ, first at {np.argwhere(different)[0]}"


def cross_check(blocks: np.ndarray, scales: np.ndarray, expect: dict, infinite: bool) -> None:
    """`expect`: dtype -> values by the recipe. Fails on the first library that disagrees."""
    f32 = {"ml_dtypes": from_ml_dtypes(blocks, scales), "gguf": from_gguf(blocks, scales)}
    torch_blocks, torch_scales = torch.from_numpy(blocks), torch.from_numpy(scales)
    for dtype, ours in expect.items():
        agree(f"ml_dtypes {dtype}", ours, recipe.rounded(f32["ml_dtypes"], dtype), scales, False, True)
        agree(f"gguf {dtype}", ours, recipe.rounded(f32["gguf"], dtype), scales, not infinite, False)
        kind = recipe.DENSE[dtype]
        theirs = recipe_torch.mxfp4(torch_blocks, torch_scales, dtype)
        agree(f"torch {dtype}", ours, recipe_torch.to_numpy(theirs).view(kind), scales, not infinite, True)
        theirs = from_transformers(torch_blocks, torch_scales, recipe_torch.DTYPES[dtype])
        agree(f"transformers {dtype}", ours, recipe_torch.to_numpy(theirs).view(kind), scales, not infinite, True)
    theirs = from_compressed_tensors(torch_blocks, torch_scales)
    assert theirs.dtype == torch.bfloat16
    kind = recipe.DENSE["BF16"]
    agree("compressed-tensors", expect["BF16"], recipe_torch.to_numpy(theirs).view(kind), scales, infinite, True)


def make(name: str, blocks: np.ndarray, scales: np.ndarray, data: dict, infinite: bool = False, **more) -> str:
    """blocks uint8 [rows, G, 16], scales uint8 [rows, G]. `infinite`: what compressed-tensors does with e = 255."""
    rows, columns = scales.shape[0], scales.shape[1] * 32
    values = recipe.mxfp4(blocks, scales, infinite)
    expect = {dtype: recipe.rounded(values, dtype) for dtype in ("BF16", "F16", "F32")}
    cross_check(blocks, scales, expect, infinite)
    provenance = {
        "made_by": "test/vectors/make.py",
        "tools": vector.tools(*LIBRARIES),
        "data": data,
        "recipe": "gpt-oss: E2M1[code] * 2^(e - 127), one rounding to nearest even; NaN as the positive quiet one",
        "differences": DIFFERENCES,
    }
    sources = [
        vector.source("codes", blocks, rows, unit_columns=32, unit_bytes=16),
        vector.source("scales", scales, rows, unit_columns=32, unit_bytes=1),
    ]
    bits = {dtype: recipe.canonical(values) for dtype, values in expect.items()}
    parameters = [int(infinite)]
    return vector.write(name, "mxfp4", rows, columns, sources, bits, provenance, parameters=parameters, **more)


def exhaustive() -> tuple[np.ndarray, np.ndarray]:
    """256 rows of one block; row e has scale e and every code in both nibbles."""
    codes = np.concatenate([np.arange(16), np.roll(np.arange(16), 5)]).astype(np.uint8)
    block = codes[0::2] | codes[1::2] << 4
    assert set(block & 15) | set(block >> 4) == set(range(16))
    return np.tile(block, (256, 1, 1)), np.arange(256, dtype=np.uint8).reshape(256, 1)


def random(rows: int, groups: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Any code; scales as trained models have them, with every twentieth from the whole range."""
    blocks = generator.integers(0, 256, (rows, groups, 16), dtype=np.uint8)
    scales = generator.integers(108, 127, (rows, groups), dtype=np.uint8)
    rare = generator.random((rows, groups)) < 0.05
    return blocks, np.where(rare, generator.integers(0, 256, (rows, groups), dtype=np.uint8), scales)


def make_all() -> list[str]:
    generator = np.random.default_rng(SEED)
    everything = {"kind": "all 16 codes with all 256 scales"}
    made = [make("mxfp4", *exhaustive(), everything), make("mxfp4-infinite", *exhaustive(), everything, infinite=True)]
    for rows, groups in ((1, 1), (3, 2), (7, 23), (5, 90)):
        data = {"kind": "random", "generator": "numpy.random.default_rng", "seed": SEED}
        made.append(make(f"mxfp4-{rows}x{groups * 32}", *random(rows, groups, generator), data))
    blocks, scales, data = trained.experts()
    # A file of one of gpt-oss's two namings can be made of it: [experts, rows, groups, 16].
    shape = blocks.shape
    rows = (blocks.reshape(-1, *shape[2:]), scales.reshape(-1, shape[2]))
    return [*made, make("mxfp4-trained", *rows, data, blocks_shape=list(shape))]
