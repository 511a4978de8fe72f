"""What the formats of small floats under scales mean, in numpy: FP8 in its dialects, MXFP8, MXFP6, NVFP4.

A value is element * scale, one float32 product rounded to nearest even. A scale belongs to a block of rows and columns,
which its grid repeats over the matrix and which the matrix may cut off at its right and lower edge. compressed-tensors
multiplies in the dtype of the scale: the product is rounded to that too.
"""

import ml_dtypes
import numpy as np

import recipe

ELEMENTS = {
    "e4m3": ml_dtypes.float8_e4m3fn,
    "e5m2": ml_dtypes.float8_e5m2,
    "e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "e2m3": ml_dtypes.float6_e2m3fn,
    "e3m2": ml_dtypes.float6_e3m2fn,
}


def elements(codes: np.ndarray, format: str) -> np.ndarray:
    """uint8 codes, one to a byte -> float32."""
    return codes.view(ELEMENTS[format]).astype(np.float32)


def six_bits(packed: np.ndarray) -> np.ndarray:
    """uint8 [..., 3n] -> codes uint8 [..., 4n]: four to three bytes, the first in the lowest bits."""
    groups = packed.reshape(*packed.shape[:-1], -1, 3).astype(np.uint32)
    words = groups[..., 0] | groups[..., 1] << 8 | groups[..., 2] << 16
    codes = np.stack([words >> shift & 63 for shift in (0, 6, 12, 18)], axis=-1)
    return codes.reshape(*packed.shape[:-1], -1).astype(np.uint8)


def e8m0(scales: np.ndarray, last: float) -> np.ndarray:
    """Bytes -> float32 powers of two; `last` is what 255 is: infinite as a plain byte, NaN as torch.float8_e8m0fnu."""
    powers = np.ldexp(np.float32(1), np.minimum(scales, 254).astype(np.int32) - 127)
    return np.where(scales == 255, np.float32(last), powers).astype(np.float32)


def spread(scales: np.ndarray, shape: tuple, block: tuple) -> np.ndarray:
    """A grid of scales over a matrix of `shape`: each for block[0] rows and block[1] columns, cut off at the edges."""
    rows = np.repeat(scales, block[0], axis=-2)[..., : shape[-2], :]
    return np.repeat(rows, block[1], axis=-1)[..., : shape[-1]]


def scaled(values: np.ndarray, scales: np.ndarray, rounding: str | None = None) -> np.ndarray:
    """float32 * float32 -> float32, rounded to a narrower dtype ("F16", "BF16") where the dialect multiplies in it."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        products = values * scales.astype(np.float32)
    return products if rounding is None else recipe.rounded(products, rounding).astype(np.float32)


def nvfp4(packed: np.ndarray, scales: np.ndarray, whole: np.float32, divide: bool, zero: float = -0.0) -> np.ndarray:
    """uint8 [..., n / 2], E4M3 bytes [..., n / 16] and one float32 -> float32 [..., n].

    The scale of a group is its E4M3 value times (or divided by) the scale of the whole, rounded to float32; then the
    product with the element. `zero`: what code 8 is; modelopt's table has +0 there.
    """
    table = recipe.E2M1.copy()
    table[8] = zero
    values = table[recipe.nibbles(packed)]
    groups = elements(scales, "e4m3")
    with np.errstate(all="ignore"):
        factors = groups / np.float32(whole) if divide else groups * np.float32(whole)
        return values * np.repeat(factors, 16, axis=-1)
