"""What each format means, stated once in numpy: the test-only truth that conversions are compared with.

MXFP4 as gpt-oss defines it (openai/gpt-oss, gpt_oss/torch/weights.py; element values from OCP MX v1.0): a block is 32
consecutive values of a row; byte j of its 16 holds value 2j in the low nibble and value 2j+1 in the high one; a
value is E2M1[code] * 2^(e - 127) with the block's E8M0 scale byte e, in float32, then rounded to nearest even.

The value is exact in float32 and in bfloat16 except where it overflows. gpt-oss and transformers use torch.ldexp, for
which e = 255 is 2^128 like any other power: codes 0, 1, 8 and 9 stay finite. compressed-tensors multiplies by the
float32 2^128, which is infinite: codes 0 and 8 give NaN, all others an infinity.
"""

import ml_dtypes
import numpy as np

E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], dtype=np.float32)

DENSE = {"BF16": np.dtype(ml_dtypes.bfloat16), "F16": np.dtype(np.float16), "F32": np.dtype(np.float32)}


def nibbles(packed: np.ndarray) -> np.ndarray:
    """uint8 [..., n] -> codes uint8 [..., 2n], low nibble first."""
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)


def mxfp4(blocks: np.ndarray, scales: np.ndarray, infinite_last_scale: bool = False) -> np.ndarray:
    """blocks uint8 [..., G, 16], scales uint8 [..., G] -> float32 [..., 32 G]."""
    assert blocks.shape[:-1] == scales.shape and blocks.shape[-1] == 16, (blocks.shape, scales.shape)
    exponents = scales.astype(np.int32)[..., None] - 127
    with np.errstate(over="ignore", invalid="ignore"):
        if infinite_last_scale:
            values = E2M1[nibbles(blocks)] * np.ldexp(np.float32(1), exponents)
        else:
            values = np.ldexp(E2M1[nibbles(blocks)], exponents)
    return values.reshape(*scales.shape[:-1], scales.shape[-1] * 32)


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """float32 -> the named safetensors dtype, to nearest even; subnormals are kept."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return values.astype(DENSE[dtype])


def bits(values: np.ndarray) -> np.ndarray:
    """The same memory as unsigned integers of the element's width."""
    return values.view(f"u{values.dtype.itemsize}")


def canonical(values: np.ndarray) -> np.ndarray:
    """Bits in which every NaN is the same positive quiet one: sign and payload of a computed NaN differ by machine."""
    raw = bits(values).copy()
    quiet = {2: 0x7FC0 if values.dtype == ml_dtypes.bfloat16 else 0x7E00, 4: 0x7FC00000}[values.dtype.itemsize]
    raw[np.isnan(values.astype(np.float32))] = quiet
    return raw
