"""What formats of whole numbers mean, in numpy: a value is (code - zero) * scale.

The difference of two whole numbers is exact in float32, and so is its product with a scale of 16 bits; that with a
float32 scale is rounded once. GPTQ and AWQ store a matrix as [in, out], with a row of scales and zeros for each group
of its rows.
"""

import numpy as np

PLANES = {3: (2, 1), 5: (4, 1), 6: (4, 2), 7: (4, 2, 1)}
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def fields(words: np.ndarray, bits: int, planar: bool = False) -> np.ndarray:
    """uint32 [..., n] -> whole numbers int32 [..., 32 n / bits], the lowest bits of each word first.

    Planar: of every `bits` words the first hold the lowest bits of 32 numbers, the next ones the bits above.
    """
    stream = np.unpackbits(np.ascontiguousarray(words, "<u4").view(np.uint8), axis=-1, bitorder="little")
    lead = words.shape[:-1]
    if not planar:
        return whole(stream.reshape(*lead, -1, bits))
    groups = stream.reshape(*lead, -1, 32 * bits)
    numbers, begin, offset = 0, 0, 0
    for width in PLANES[bits]:
        part = groups[..., begin : begin + 32 * width].reshape(*groups.shape[:-1], 32, width)
        numbers = numbers + (whole(part) << offset)
        begin, offset = begin + 32 * width, offset + width
    return numbers.reshape(*lead, -1)


def whole(bits: np.ndarray) -> np.ndarray:
    """Bits, lowest first along the last axis -> int32."""
    return bits.astype(np.int32) @ (1 << np.arange(bits.shape[-1], dtype=np.int32))


def plus_one(words: np.ndarray, bits: int, planar: bool = False) -> np.ndarray:
    """Zeros that are stored less one -> zeros. Of 2, 4 and 8 bits an overflow goes on into the next field."""
    if 32 % bits == 0:
        ones = np.uint32(0xFFFFFFFF // (2**bits - 1))
        return fields(words + ones, bits)
    return (fields(words, bits, planar) + 1) % 2**bits


def awq_fields(words: np.ndarray) -> np.ndarray:
    """uint32 [..., n] -> int32 [..., 8 n]: field k is that of column AWQ_ORDER[k]."""
    numbers = fields(words, 4).reshape(*words.shape, 8)
    columns = np.empty_like(numbers)
    columns[..., list(AWQ_ORDER)] = numbers
    return columns.reshape(*words.shape[:-1], -1)


def affine(codes: np.ndarray, zeros: np.ndarray | int, scales: np.ndarray) -> np.ndarray:
    """Whole numbers and scales of one shape -> float32."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return (codes - zeros).astype(np.float32) * scales.astype(np.float32)
