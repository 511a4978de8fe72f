"""Golden vectors of integers under scales: compressed-tensors, LLM.int8 of bitsandbytes, MLX's affine weights.

Each library packs and dequantizes here. The packing of compressed-tensors up to 0.9, whose codes cross no word, and its
order of activations ("g_idx") are stated below: 0.20 no longer reads either.
"""

import bitsandbytes.functional as bnb
import mlx.core as mx
import numpy as np
import recipe
import recipe_torch
import torch
from compressed_tensors.compressors.naive_quantized.base import IntQuantizationCompressor
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

import scaled
import trained
import vector

LIBRARIES = ("numpy", "torch", "compressed-tensors", "bitsandbytes", "mlx")
TENSOR = "encoder.layer.4.attention.output.dense.weight"
SCALES = {torch.float32: ("F32", None), torch.float16: ("F16", "F16"), torch.bfloat16: ("BF16", "BF16")}
NO_ZEROS, WORDS, BYTES = 0, 1, 2


def weights(rows: int, columns: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.from_numpy(trained.tensor(TENSOR)[:rows, :columns].copy()).to(dtype)


def place(role: str, values: np.ndarray, rows_per_line: int, lines: int, unit: tuple) -> dict:
    """A source of `lines` lines; `unit`: columns and bytes, (0, 0) where a line is not cut."""
    raw = np.ascontiguousarray(values).tobytes()
    form = {"rows_per_line": rows_per_line, "line_bytes": len(raw) // lines}
    return {"role": role, **form, "unit_columns": unit[0], "unit_bytes": unit[1], "hex": raw.hex()}


def make(name: str, codec: str, values: np.ndarray, sources: list, parameters: list, kind: str, theirs) -> str:
    """`values` float32 by our statement of the format; `theirs` by the library, None where none runs."""
    if theirs is not None:
        scaled.agree_torch(name, values, theirs)
    provenance = {
        "made_by": "test/vectors/make.py",
        "tools": vector.tools(*LIBRARIES),
        "data": {"kind": kind},
        "recipe": "(code - zero) * scale, or code * scale + bias, rounded to the dtype of the scales after each step",
    }
    expect = {dtype: recipe.canonical(recipe.rounded(values, dtype)) for dtype in ("BF16", "F16", "F32")}
    return vector.write(name, codec, *values.shape, sources, expect, provenance, parameters=parameters)


def product(codes: np.ndarray, scales: np.ndarray, rounding: str | None) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        values = codes.astype(np.float32) * scales.astype(np.float32)
    return values if rounding is None else recipe.rounded(values, rounding).astype(np.float32)


def f32(values: torch.Tensor) -> np.ndarray:
    return values.to(torch.float32).numpy()


def quantized(values: torch.Tensor, bits: int, group: int, dtype: torch.dtype, symmetric: bool):
    """(integers int8, scales dtype [rows, groups], zeros int8 [rows, groups]) by minimum and maximum of each group."""
    rows, columns = values.shape
    parts = values.reshape(rows, -1, group or columns)
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if symmetric:
        scales = (parts.abs().amax(-1) / max(high, 1)).to(dtype)
        zeros = torch.zeros(scales.shape, dtype=torch.int8)
    else:
        scales = ((parts.amax(-1) - parts.amin(-1)) / (high - low)).to(dtype)
        zeros = (low - parts.amin(-1) / scales.to(torch.float32)).round().clamp(low, high).to(torch.int8)
    integers = (parts / scales.to(torch.float32)[..., None] + zeros[..., None]).round().clamp(low, high)
    return integers.reshape(rows, columns).to(torch.int8), scales, zeros


def spread(values: np.ndarray, group: int, columns: int) -> np.ndarray:
    return np.repeat(values, group or columns, axis=1)[:, :columns]


def packed(name: str, bits: int, shape: tuple, group: int, dtype: torch.dtype, symmetric: bool) -> str:
    rows, columns = shape
    integers, scales, zeros = quantized(weights(*shape), bits, group, dtype, symmetric)
    codes = pack_to_int32(integers, bits)
    label, rounding = SCALES[dtype]
    width = scales.element_size()
    unit = (8, bits) if columns % 8 == 0 else (0, 0)
    stored = recipe_torch.to_numpy(scales)
    sources = [place("codes", codes.numpy(), 1, rows, unit)]
    sources.append(place("scales", stored, 1, rows, (group, width) if group else (0, 0)))
    state = {"weight_packed": codes, "weight_scale": scales, "weight_shape": torch.tensor(shape)}
    kind = NO_ZEROS
    if not symmetric:
        words = pack_to_int32(zeros, bits, packed_dim=0).contiguous()
        state["weight_zero_point"] = words
        kind = WORDS
        if 32 % bits == 0:
            form = (32 // bits, len(words), (group, 4) if group else (0, 0))
        else:
            form = (0, 1, (0, 0))
        sources.append(place("zeros", words.numpy(), *form))
    strategy = {"strategy": "group", "group_size": group} if group else {"strategy": "channel"}
    args = QuantizationArgs(num_bits=bits, type="int", symmetric=symmetric, **strategy)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    theirs = PackedQuantizationCompressor.decompress(state, scheme)["weight"]
    differences = integers.numpy().astype(np.int32) - spread(zeros.numpy().astype(np.int32), group, columns)
    values = product(differences, spread(f32(scales), group, columns), rounding)
    parameters = [bits, scaled.SCALES[label], group, kind, scaled.ROUNDINGS[rounding]]
    return make(name, "pack_quantized", values, sources, parameters, f"trained, {TENSOR}", theirs)


def exhaustive() -> str:
    """Every code of eight bits under scales of the whole range."""
    integers = torch.arange(-128, 128, dtype=torch.int16).to(torch.int8).repeat(len(scaled.EDGES), 1)
    scales = torch.from_numpy(scaled.EDGES[:, None].copy())
    state = {"weight_packed": pack_to_int32(integers, 8), "weight_scale": scales}
    state["weight_shape"] = torch.tensor(integers.shape)
    args = QuantizationArgs(num_bits=8, type="int", symmetric=True, strategy="channel")
    theirs = PackedQuantizationCompressor.decompress(state, QuantizationScheme(targets=["L"], weights=args))["weight"]
    sources = [place("codes", state["weight_packed"].numpy(), 1, len(scales), (8, 8))]
    sources.append(place("scales", scales.numpy(), 1, len(scales), (0, 0)))
    values = product(integers.numpy(), scales.numpy(), None)
    return make("pack_quantized", "pack_quantized", values, sources, [8, 1, 0, 0, 0], "all codes", theirs)


def old_layout() -> str:
    """Three bits, ten codes to a word, with zero points that are signed bytes."""
    integers, scales, zeros = quantized(weights(6, 80), 3, 40, torch.float16, False)
    fields = (integers.numpy().astype(np.uint32) + 4).reshape(6, 8, 10)
    words = (fields << (3 * np.arange(10, dtype=np.uint32))).sum(-1, dtype=np.uint32)
    sources = [
        place("codes", words, 1, 6, (10, 4)),
        place("scales", recipe_torch.to_numpy(scales), 1, 6, (40, 2)),
        place("zeros", zeros.numpy(), 1, 6, (40, 1)),
    ]
    differences = integers.numpy().astype(np.int32) - spread(zeros.numpy().astype(np.int32), 40, 80)
    values = product(differences, spread(f32(scales), 40, 80), "F16")
    return make("pack_quantized-words", "pack_quantized", values, sources, [3, 2, 40, BYTES, 1, 1], "trained", None)


def activation_order() -> str:
    """Four bits, each column in a group of its own choice."""
    rows, columns, group = 8, 96, 32
    order = np.random.default_rng(scaled.SEED).permutation(columns) // group
    sorted_columns = np.argsort(order, kind="stable")
    sorted_integers, scales, zeros = quantized(weights(rows, columns)[:, sorted_columns], 4, group, torch.bfloat16, False)
    integers = torch.empty_like(sorted_integers)
    integers[:, sorted_columns] = sorted_integers
    codes = pack_to_int32(integers, 4)
    words = pack_to_int32(zeros, 4, packed_dim=0).contiguous()
    sources = [
        place("codes", codes.numpy(), 1, rows, (8, 4)),
        place("scales", recipe_torch.to_numpy(scales), 1, rows, (0, 0)),
        place("zeros", words.numpy(), 8, len(words), (0, 0)),
        place("groups", order.astype(np.int32), 0, 1, (1, 4)),
    ]
    differences = integers.numpy().astype(np.int32) - zeros.numpy().astype(np.int32)[:, order]
    values = product(differences, f32(scales)[:, order], "BF16")
    parameters = [4, 3, 0, WORDS, 2, 0, columns // group]
    return make("pack_quantized-order", "pack_quantized", values, sources, parameters, "trained", None)


def int8(name: str, dtype: torch.dtype, symmetric: bool) -> str:
    integers, scales, zeros = quantized(weights(12, 90), 8, 0, dtype, symmetric)
    state = {"weight": integers, "weight_scale": scales}
    sources = [vector.source("codes", integers.numpy(), 12, 1, 1)]
    sources.append(place("scales", recipe_torch.to_numpy(scales), 1, 12, (0, 0)))
    if not symmetric:
        state["weight_zero_point"] = zeros
        sources.append(place("zeros", zeros.numpy(), 1, 12, (0, 0)))
    args = QuantizationArgs(num_bits=8, type="int", symmetric=symmetric, strategy="channel")
    theirs = IntQuantizationCompressor.decompress(state, QuantizationScheme(targets=["L"], weights=args))["weight"]
    label, rounding = SCALES[dtype]
    values = product(integers.numpy().astype(np.int32) - zeros.numpy().astype(np.int32), f32(scales), rounding)
    parameters = [8, scaled.SCALES[label], 0, NO_ZEROS if symmetric else BYTES, scaled.ROUNDINGS[rounding]]
    return make(name, "int8", values, sources, parameters, f"trained, {TENSOR}", theirs)


def llm_int8(name: str, integers: torch.Tensor, absmax: torch.Tensor, kind: str) -> str:
    """code * absmax, and that product * 1/127, each rounded to float32."""
    theirs = bnb.int8_vectorwise_dequant(integers, absmax)
    rows = len(integers)
    sources = [vector.source("codes", integers.numpy(), rows, 1, 1)]
    sources.append(place("absmax", absmax.numpy(), 1, rows, (0, 0)))
    part = np.float32(1 / 127)
    values = product(product(integers.numpy(), absmax.numpy()[:, None], None), part, None)
    parameters = [8, 1, 0, 0, 0, int(part.view(np.uint32))]
    return make(name, "int8", values, sources, parameters, kind, theirs)


def mlx(name: str, bits: int, group: int, dtype: torch.dtype, shape: tuple) -> str:
    kinds = {torch.float32: mx.float32, torch.float16: mx.float16, torch.bfloat16: mx.bfloat16}
    values = mx.array(weights(*shape).numpy()).astype(kinds[dtype])
    codes, scales, biases = mx.quantize(values, group_size=group, bits=bits)
    theirs = torch.from_numpy(np.array(mx.dequantize(codes, scales, biases, group, bits).astype(mx.float32))).to(dtype)
    label, rounding = SCALES[dtype]
    sides = [np.array(side.astype(mx.float32)) for side in (scales, biases)]
    raw = np.array(codes).view(np.uint8).reshape(shape[0], -1)
    stream = np.unpackbits(raw, axis=1, bitorder="little").reshape(*shape, bits)
    integers = (stream.astype(np.int64) << np.arange(bits)).sum(-1)
    made = product(integers, spread(sides[0], group, shape[1]), rounding)
    made = made + spread(sides[1], group, shape[1])
    if rounding is not None:
        made = recipe.rounded(made, rounding).astype(np.float32)
    width = torch.empty(0, dtype=dtype).element_size()
    sources = [vector.source("codes", raw, shape[0], 8, bits)]
    for role, side in zip(("scales", "biases"), sides):
        stored = recipe_torch.to_numpy(torch.from_numpy(side).to(dtype))
        sources.append(vector.source(role, stored, shape[0], group, width))
    parameters = [bits, scaled.SCALES[label], group, 0, scaled.ROUNDINGS[rounding]]
    return make(name, "mlx_affine", made, sources, parameters, f"trained, {TENSOR}", theirs)


def make_all() -> list[str]:
    bf16, f16, wide = torch.bfloat16, torch.float16, torch.float32
    every = torch.arange(-128, 128, dtype=torch.int16).to(torch.int8).repeat(len(scaled.EDGES), 1)
    edges = torch.from_numpy(scaled.EDGES.copy())
    trained_int8, absmax, _ = bnb.int8_vectorwise_quant(weights(6, 100, f16))
    return [
        exhaustive(),
        packed("pack_quantized-4", 4, (8, 128), 64, bf16, True),
        packed("pack_quantized-4-zeros", 4, (12, 96), 32, f16, False),
        packed("pack_quantized-8-zeros", 8, (10, 64), 0, bf16, False),
        packed("pack_quantized-3-zeros", 3, (40, 64), 32, bf16, False),
        packed("pack_quantized-2", 2, (6, 70), 0, wide, True),
        packed("pack_quantized-5", 5, (6, 96), 32, bf16, True),
        packed("pack_quantized-6-zeros", 6, (21, 48), 16, bf16, False),
        packed("pack_quantized-7", 7, (6, 64), 64, bf16, True),
        packed("pack_quantized-1", 1, (6, 64), 64, bf16, True),
        old_layout(),
        activation_order(),
        int8("int8-channel", bf16, True),
        int8("int8-zeros", f16, False),
        llm_int8("int8", every, edges, "all codes"),
        llm_int8("int8-absmax", trained_int8, absmax, f"trained, {TENSOR}"),
        *[mlx(f"mlx_affine-{bits}", bits, 64, bf16, (6, 128)) for bits in (2, 3, 5, 6, 8)],
        mlx("mlx_affine", 4, 32, f16, (8, 160)),
        mlx("mlx_affine-4-f32", 4, 128, wide, (4, 256)),
        mlx("mlx_affine-4-bf16", 4, 64, bf16, (8, 192)),
    ]
