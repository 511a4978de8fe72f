"""Golden vectors of the dense formats: F32, F16 and BF16, each to all three.

A cast goes through float32 and rounds once, to nearest even; subnormals are kept, overflow is infinite. A NaN keeps
its sign and the high end of its payload, and becomes quiet. BF16 to F32 and F32 to F32 move bits only. Libraries
disagree about payloads, so only the class of a NaN is compared with them.
"""

import ml_dtypes
import numpy as np
import recipe
import recipe_torch
import torch

import vector

SEED = 19850101
# A prime, so that no vector length divides a row.
COLUMNS = 199

# Fraction bits of each format: the ends, and halfway patterns of the narrower ones with a neighbour on either side.
FRACTIONS = {
    "F32": [0, 1, 0x0FFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x3001, 0x7FFF, 0x8000, 0x8001, 0x17FFF, 0x18000, 0x18001]
    + [0x200000, 0x3FFFFF, 0x400000, 0x555555, 0x7FEFFF, 0x7FF000, 0x7F7FFF, 0x7F8000, 0x7FFFFE, 0x7FFFFF],
    "F16": [0, 1, 2, 3, 4, 7, 8, 9, 0x0C, 0x14, 0x3C, 0x7F, 0x80]
    + [0x155, 0x1FF, 0x200, 0x201, 0x2AA, 0x3FB, 0x3FC, 0x3FE, 0x3FF],
    "BF16": [0, 1, 2, 3, 0x0F, 0x10, 0x3F, 0x40, 0x41, 0x55, 0x6A, 0x7E, 0x7F],
}
# Bits of exponent and of fraction.
WIDTHS = {"F32": (8, 23), "F16": (5, 10), "BF16": (8, 7)}


def inputs(dtype: str, generator: np.random.Generator) -> np.ndarray:
    """Bits [rows, COLUMNS]: each fraction with each exponent and sign, then random bits to the end of the last row."""
    exponent_bits, fraction_bits = WIDTHS[dtype]
    width = 1 + exponent_bits + fraction_bits
    exponents = np.arange(1 << exponent_bits, dtype=np.uint64)
    signs = np.array([0, 1], dtype=np.uint64) << np.uint64(width - 1)
    fractions = np.array(FRACTIONS[dtype], dtype=np.uint64)
    edges = (signs[:, None, None] | exponents[None, :, None] << np.uint64(fraction_bits) | fractions).reshape(-1)
    rest = generator.integers(0, 1 << width, -len(edges) % COLUMNS + COLUMNS, dtype=np.uint64)
    return np.concatenate([edges, rest]).astype(f"u{width // 8}").reshape(-1, COLUMNS)


def to_f32(bits: np.ndarray, dtype: str) -> np.ndarray:
    """Bits of `dtype` -> bits of float32, by integer arithmetic for NaN and by numpy for everything else."""
    values = bits.view(recipe.DENSE[dtype])
    wide = recipe.bits(values.astype(np.float32)).copy()
    nan = np.isnan(values.astype(np.float32))
    source = bits[nan].astype(np.uint32)
    if dtype == "F16":
        wide[nan] = (source & 0x8000) << 16 | 0x7FC00000 | (source & 0x3FF) << 13
    else:
        wide[nan] = source << 16 if dtype == "BF16" else source
    return wide


def from_f32(wide: np.ndarray, dtype: str) -> np.ndarray:
    """Bits of float32 -> bits of `dtype`."""
    values = wide.view(np.float32)
    narrow = recipe.bits(recipe.rounded(values, dtype)).copy()
    nan = np.isnan(values)
    if dtype == "BF16":
        narrow[nan] = wide[nan] >> 16 | 0x40
    elif dtype == "F16":
        narrow[nan] = (wide[nan] >> 16 & 0x8000) | 0x7E00 | (wide[nan] >> 13 & 0x3FF)
    else:
        narrow[nan] = wide[nan]
    return narrow


def cross_check(bits: np.ndarray, source: str, target: str, ours: np.ndarray) -> None:
    """torch casts directly, ml_dtypes and numpy too where they can; NaN by class."""
    signed = torch.from_numpy(bits.view(f"i{bits.dtype.itemsize}").copy())
    theirs = signed.view(recipe_torch.DTYPES[source]).to(recipe_torch.DTYPES[target])
    kind = recipe.DENSE[target]
    canonical = recipe.canonical(ours.view(kind))
    assert (canonical == recipe.canonical(recipe_torch.to_numpy(theirs).view(kind))).all(), ("torch", source, target)
    with np.errstate(over="ignore", invalid="ignore"):
        direct = bits.view(recipe.DENSE[source]).astype(kind)
    assert (canonical == recipe.canonical(direct)).all(), ("numpy", source, target)


def make_all() -> list[str]:
    made = []
    for codec in ("F32", "F16", "BF16"):
        bits = inputs(codec, np.random.default_rng(SEED))
        wide = to_f32(bits, codec)
        expect = {target: from_f32(wide, target) for target in ("BF16", "F16", "F32")}
        for target, ours in expect.items():
            cross_check(bits, codec, target, ours)
        provenance = {
            "made_by": "test/vectors/make.py",
            "tools": vector.tools("numpy", "ml_dtypes", "torch"),
            "data": {"kind": "edges, then random bits", "generator": "numpy.random.default_rng", "seed": SEED},
            "recipe": "through float32, one rounding to nearest even; NaN keeps its sign and its payload's high end",
            "differences": {"numpy, ml_dtypes, torch": "payload and sign of NaN are their own"},
        }
        size = bits.dtype.itemsize
        sources = [vector.source("values", bits, len(bits), unit_columns=1, unit_bytes=size)]
        made.append(vector.write(codec.lower(), codec.lower(), len(bits), COLUMNS, sources, expect, provenance))
    return made
