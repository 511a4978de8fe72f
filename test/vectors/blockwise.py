"""Golden vectors of bitsandbytes: NF4 and FP4 with the largest magnitude of each block, plain and quantized itself.

bitsandbytes quantizes and dequantizes; its absmax is float32, or uint8 under a second quantization ("nested").
"""

import bitsandbytes.functional as bnb
import numpy as np
import recipe
import recipe_torch
import torch

import scaled
import trained
import vector

LIBRARIES = ("numpy", "torch", "bitsandbytes")
TENSOR = "encoder.layer.3.output.dense.weight"
CODECS = {"nf4": "nf4", "fp4": "fp4_bnb"}
ROUNDINGS = {torch.float32: None, torch.float16: "F16", torch.bfloat16: "BF16"}


def absmax_of(state: bnb.QuantState) -> np.ndarray:
    """float32 of each block: map[code] * scale + offset, each rounded, where they are quantized themselves."""
    if not state.nested:
        return state.absmax.numpy()
    scales = np.repeat(state.state2.absmax.numpy(), state.state2.blocksize)[: state.absmax.numel()]
    return state.state2.code.numpy()[state.absmax.numpy()] * scales + np.float32(state.offset.item())


def elements_of(kind: str) -> np.ndarray:
    """The library's table. Its kernels, for CPUs and for CUDA, have -0 for code 8 of FP4."""
    table = bnb.get_4bit_type(kind, device="cpu").numpy().copy()
    if kind == "fp4":
        table[8] = -0.0
    return table


def sources_of(packed: torch.Tensor, state: bnb.QuantState, rows: int) -> list:
    stored = [vector.source("codes", packed.view(torch.uint8).numpy(), rows, 2, 1)]
    absmax = state.absmax.numpy()
    stored.append(vector.source("absmax", absmax, rows, state.blocksize, absmax.itemsize))
    if state.nested:
        for role, values in (("nested absmax", state.state2.absmax), ("nested map", state.state2.code)):
            place = {"rows_per_line": 0, "line_bytes": values.numel() * 4, "unit_columns": 0, "unit_bytes": 0}
            stored.append({"role": role, **place, "hex": values.numpy().tobytes().hex()})
    return stored


def make(name: str, packed: torch.Tensor, state: bnb.QuantState, shape: tuple, kind: str) -> str:
    """`shape`: rows of whole blocks, or one row of all values; (rows, columns) of the vector."""
    codes = packed.view(torch.uint8).numpy().reshape(-1)
    nibbles = np.stack([codes >> 4, codes & 15], axis=-1).reshape(-1)
    values = elements_of(state.quant_type)[nibbles]
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        values = values * np.repeat(absmax_of(state), state.blocksize)[: values.size]
    rounding = ROUNDINGS[state.dtype]
    if rounding is not None:
        values = recipe.rounded(values, rounding).astype(np.float32)
    scaled.agree_torch(name, values, bnb.dequantize_4bit(packed, state).reshape(-1))
    expect = {dtype: recipe.canonical(recipe.rounded(values, dtype)) for dtype in ("BF16", "F16", "F32")}
    expect = {dtype: bits.reshape(shape) for dtype, bits in expect.items()}
    offset = int(np.float32(state.offset.item()).view(np.uint32)) if state.nested else 0
    nested = state.state2.blocksize if state.nested else 0
    provenance = {
        "made_by": "test/vectors/make.py",
        "tools": vector.tools(*LIBRARIES),
        "data": {"kind": kind},
        "recipe": "element * absmax in float32, rounded to the dtype of the quantized weight; NaN as the positive one",
    }
    parameters = [state.blocksize, nested, offset, scaled.ROUNDINGS[rounding]]
    sources = sources_of(packed, state, shape[0])
    return vector.write(name, CODECS[state.quant_type], *shape, sources, expect, provenance, parameters=parameters)


def exhaustive(kind: str) -> str:
    """Every byte under every absmax of EDGES, negative ones among them."""
    rows, columns, block = len(scaled.EDGES), 512, 64
    packed = torch.arange(256, dtype=torch.uint8).repeat(rows).reshape(-1, 1)
    absmax = torch.from_numpy(np.repeat(scaled.EDGES, columns // block))
    shape = torch.Size([rows, columns])
    table = bnb.get_4bit_type(kind, device="cpu")
    state = bnb.QuantState(absmax, shape, table, block, kind, torch.float32)
    return make(CODECS[kind], packed, state, tuple(shape), "all codes")


def weights(rows: int, columns: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(trained.tensor(TENSOR)[:rows, :columns].copy()).to(dtype)


def plain(name: str, kind: str, values: torch.Tensor, block: int, shape: tuple) -> str:
    packed, state = bnb.quantize_4bit(values, blocksize=block, quant_type=kind)
    return make(name, packed, state, shape, f"trained, {TENSOR}, {list(values.shape)}")


def nested(name: str, kind: str, values: torch.Tensor, block: int, nested_block: int, shape: tuple) -> str:
    """The steps of quantize_4bit(compress_statistics=True), whose own second block of 256 is too large for a vector."""
    packed, state = bnb.quantize_4bit(values, blocksize=block, quant_type=kind)
    offset = state.absmax.mean()
    codes, second = bnb.quantize_blockwise(state.absmax - offset, blocksize=nested_block)
    state.absmax, state.offset, state.state2, state.nested = codes, offset, second, True
    return make(name, packed, state, shape, f"trained, {TENSOR}, {list(values.shape)}")


def make_all() -> list[str]:
    bf16, f16 = torch.bfloat16, torch.float16
    return [
        exhaustive("nf4"),
        exhaustive("fp4"),
        plain("nf4-trained", "nf4", weights(12, 192, bf16), 64, (12, 192)),
        plain("nf4-flat", "nf4", weights(7, 90, f16), 64, (1, 630)),
        nested("nf4-nested", "nf4", weights(20, 128, bf16), 32, 12, (20, 128)),
        nested("nf4-nested-flat", "nf4", weights(13, 102, bf16), 64, 8, (1, 1326)),
        nested("fp4_bnb-nested", "fp4", weights(10, 192, f16), 64, 7, (10, 192)),
    ]
