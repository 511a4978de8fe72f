"""Golden vectors of ggml's block types, as GGUF files have them.

ggml itself (the library inside llama-cpp-python) quantizes and dequantizes; gguf-py and the formulas of the format are
second and third opinions on every block. The blocks: trained weights as ggml quantizes them, random bytes under
ordinary scales, and random bytes under scales from the whole range of f16, infinities and NaN among them.
"""

import ctypes
import pathlib

import gguf
import llama_cpp
import numpy as np
import recipe

import trained
import vector

SEED = 19650201
COLUMNS = 512
TRAINED_ROWS = 1
RANDOM_ROWS = 2

# codec: number of the type, columns and bytes of a block, byte positions of its f16 scales.
TYPES = {
    "q4_0": (2, 32, 18, [0]),
    "q4_1": (3, 32, 20, [0, 2]),
    "q5_0": (6, 32, 22, [0]),
    "q5_1": (7, 32, 24, [0, 2]),
    "q8_0": (8, 32, 34, [0]),
    "q2_k": (10, 256, 84, [80, 82]),
    "q3_k": (11, 256, 110, [108]),
    "q4_k": (12, 256, 144, [0, 2]),
    "q5_k": (13, 256, 176, [0, 2]),
    "q6_k": (14, 256, 210, [208]),
    "iq2_xxs": (16, 256, 66, [0]),
    "iq2_xs": (17, 256, 74, [0]),
    "iq3_xxs": (18, 256, 98, [0]),
    "iq1_s": (19, 256, 50, [0]),
    "iq4_nl": (20, 32, 18, [0]),
    "iq3_s": (21, 256, 110, [0]),
    "iq2_s": (22, 256, 82, [0]),
    "iq4_xs": (23, 256, 136, [0]),
    "iq1_m": (29, 256, 56, []),
    "tq1_0": (34, 256, 54, [52]),
    "tq2_0": (35, 256, 66, [64]),
    "mxfp4_ggml": (39, 32, 17, []),
    "nvfp4_ggml": (40, 64, 36, []),
    "q1_0": (41, 128, 18, [0]),
    "q2_0": (42, 64, 18, [0]),
}
TENSOR = "encoder.layer.5.intermediate.dense.weight"
# ggml spells the names of its functions so.
SYMBOLS = {name: name.removesuffix("_ggml").replace("_k", "_K") for name in TYPES}
# gguf-py 0.19 has no code for these.
WITHOUT_GGUF_PY = {"q1_0", "q2_0"}

library = ctypes.CDLL(str(pathlib.Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))
library.ggml_quantize_chunk.restype = ctypes.c_size_t
library.ggml_quantize_chunk.argtypes = [
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_int64,
    ctypes.c_int64,
    ctypes.c_int64,
    ctypes.c_void_p,
]


def quantize(codec: str, values: np.ndarray) -> np.ndarray:
    """float32 [rows, columns] -> blocks uint8 [rows, bytes], by ggml."""
    number, block_columns, block_bytes, _ = TYPES[codec]
    rows, columns = values.shape
    values = np.ascontiguousarray(values)
    # Types of less than three bits need the weight of each column.
    importance = np.ones(columns, dtype=np.float32)
    blocks = np.zeros((rows, columns // block_columns * block_bytes), dtype=np.uint8)
    library.ggml_quantize_init(number)
    pointers = values.ctypes.data, blocks.ctypes.data, 0, rows, columns, importance.ctypes.data
    assert library.ggml_quantize_chunk(number, *pointers) == blocks.nbytes, codec
    return blocks


def dequantize(codec: str, blocks: np.ndarray) -> np.ndarray:
    """blocks uint8 [rows, bytes] -> float32 [rows, columns], by ggml."""
    _, block_columns, block_bytes, _ = TYPES[codec]
    rows = len(blocks)
    columns = blocks.shape[1] // block_bytes * block_columns
    values = np.empty((rows, columns), dtype=np.float32)
    blocks = np.ascontiguousarray(blocks)
    function = getattr(library, f"dequantize_row_{SYMBOLS[codec]}")
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    function(blocks.ctypes.data, values.ctypes.data, rows * columns)
    return values


def put_scales(codec: str, blocks: np.ndarray, scales: np.ndarray) -> None:
    """Writes f16 bits [rows, blocks, scales of a block] into blocks [rows, blocks, bytes]."""
    if codec == "iq1_m":
        words = blocks[..., 48:56].reshape(*blocks.shape[:2], 4, 2)
        nibbles = scales[..., 0, None] >> np.array([0, 4, 8, 12], dtype=np.uint16) & 15
        words[..., 1] = words[..., 1] & 15 | nibbles.astype(np.uint8) << 4
        blocks[..., 48:56] = words.reshape(*blocks.shape[:2], 8)
    for k, at in enumerate(TYPES[codec][3]):
        blocks[..., at] = scales[..., k] & 255
        blocks[..., at + 1] = scales[..., k] >> 8


def random_blocks(codec: str, generator: np.random.Generator) -> np.ndarray:
    """Random bytes; then the same under other scales: one row of ordinary ones, one of any."""
    _, block_columns, block_bytes, _ = TYPES[codec]
    count = COLUMNS // block_columns
    blocks = generator.integers(0, 256, (RANDOM_ROWS, count, block_bytes), dtype=np.uint8)
    ordinary = generator.normal(0, 0.02, (1, count, 2)).astype(np.float16).view(np.uint16)
    wild = generator.integers(0, 1 << 16, (RANDOM_ROWS - 1, count, 2), dtype=np.uint16)
    # The ends of f16, whatever the generator gives.
    wild[0, : 2 * (count // 2)].reshape(-1)[:4] = [0x7BFF, 0xFC00, 0x0001, 0x7E00]
    put_scales(codec, blocks, np.concatenate([ordinary, wild]))
    if codec == "mxfp4_ggml":
        blocks[0, :, 0] = generator.integers(100, 140, count)
        blocks[1, :6, 0] = [0, 1, 2, 253, 254, 255]
    return blocks.reshape(RANDOM_ROWS, -1)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal bits, NaN as a class."""
    return bool((recipe.canonical(a) == recipe.canonical(b)).all())


def cross_check(codec: str, blocks: np.ndarray, values: np.ndarray) -> None:
    if codec in WITHOUT_GGUF_PY:
        return
    kind = gguf.GGMLQuantizationType(TYPES[codec][0])
    with np.errstate(all="ignore"):
        theirs = gguf.quants.dequantize(blocks, kind)
    assert same(theirs, values), (codec, np.argwhere(theirs.view(np.uint32) != values.view(np.uint32))[:4])


def provenance_of(codec: str) -> dict:
    return {
        "made_by": "test/vectors/make.py",
        "tools": vector.tools("numpy", "ml_dtypes", "gguf", "llama-cpp-python"),
        "data": {
            "kind": "trained, then random bytes under ordinary scales and under any",
            "model": "sentence-transformers/all-MiniLM-L6-v2",
            "sha256": trained.model_sha256(),
            "tensor": TENSOR,
            "quantizer": "ggml",
            "generator": "numpy.random.default_rng",
            "seed": SEED,
        },
        "recipe": f"ggml dequantize_row_{SYMBOLS[codec]}, then one rounding to nearest even",
        "differences": {"gguf-py": "none" if codec not in WITHOUT_GGUF_PY else "has no code for the type"},
    }


def expected(values: np.ndarray) -> dict:
    with np.errstate(all="ignore"):
        return {dtype: recipe.bits(recipe.rounded(values, dtype)) for dtype in ("BF16", "F16", "F32")}


def blocks_of(codec: str) -> np.ndarray:
    generator = np.random.default_rng([SEED, TYPES[codec][0]])
    # The matrix has 384 columns: rows are laid out anew, so that blocks of 256 fit.
    weights = trained.tensor(TENSOR).reshape(-1)[: TRAINED_ROWS * COLUMNS].reshape(TRAINED_ROWS, COLUMNS)
    return np.concatenate([quantize(codec, weights), random_blocks(codec, generator)])


def make(codec: str) -> str:
    blocks = blocks_of(codec)
    values = dequantize(codec, blocks)
    cross_check(codec, blocks, values)
    sources = [vector.source("blocks", blocks, len(blocks), *TYPES[codec][1:3])]
    return vector.write(codec, codec, len(blocks), COLUMNS, sources, expected(values), provenance_of(codec))


def make_scaled(name: str, scale: float) -> str:
    """NVFP4 under the scale of the whole tensor, which llama.cpp multiplies results with: one more rounding."""
    codec = "nvfp4_ggml"
    blocks = blocks_of(codec)
    with np.errstate(all="ignore"):
        values = dequantize(codec, blocks) * np.float32(scale)
    sources = [vector.source("blocks", blocks, len(blocks), *TYPES[codec][1:3])]
    whole = {"role": "tensor scale", "rows_per_line": 0, "line_bytes": 4, "unit_columns": 0, "unit_bytes": 0}
    sources.append(whole | {"hex": np.float32(scale).tobytes().hex()})
    provenance = provenance_of(codec) | {"recipe": "ggml dequantize_row_nvfp4, times the scale in float32"}
    return vector.write(name, codec, len(blocks), COLUMNS, sources, expected(values), provenance, parameters=[1])


def make_all() -> list[str]:
    made = [make(codec) for codec in TYPES]
    return [*made, make_scaled("nvfp4_ggml-scaled", 0.0123), make_scaled("nvfp4_ggml-large", 3e4)]
