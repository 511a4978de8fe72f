"""Golden vectors of GPTQ and AWQ: random words, which hold every code and every zero, and trained weights.

The expected bits are those of recipe_affine.py. Where requirements-quantizers.txt is installed, GPTQModel, auto-round
(5 to 7 bits in a stream) and AutoAWQ must agree on every element of F16, which is what they compute.
"""

import importlib.util

import ml_dtypes
import numpy as np
import recipe
import recipe_affine
import torch

import scaled
import trained
import vector

SEED = 20221031
HAS_QUANTIZERS = all(importlib.util.find_spec(name) for name in ("gptqmodel", "auto_round", "awq"))
LIBRARIES = ("numpy", "ml_dtypes", "torch") + (("gptqmodel", "auto-round", "autoawq") if HAS_QUANTIZERS else ())
TENSOR = "encoder.layer.3.intermediate.dense.weight"
ZEROS = {"middle": 0, "stored": 1, "less_one": 2}
DTYPES = {"F16": np.float16, "F32": np.float32, "BF16": ml_dtypes.bfloat16}


def words(generator: np.random.Generator, *shape: int) -> np.ndarray:
    return generator.integers(0, 2**32, shape, dtype=np.uint32)


def whole_source(role: str, data: np.ndarray) -> dict:
    place = {"rows_per_line": 0, "line_bytes": data.nbytes, "unit_columns": 0, "unit_bytes": 0}
    return {"role": role} | place | {"hex": np.ascontiguousarray(data).tobytes().hex()}


def line_source(role: str, data: np.ndarray, rows: int, unit_columns: int, unit_bytes: int) -> dict:
    """Lines of `data`, each of which serves so many rows."""
    return vector.source(role, data, len(data), unit_columns, unit_bytes) | {"rows_per_line": rows}


def write(name: str, codec: str, values: np.ndarray, sources: list, parameters: list, kind: str) -> str:
    expect = {dtype: recipe.canonical(recipe.rounded(values, dtype)) for dtype in ("BF16", "F16", "F32")}
    provenance = {
        "made_by": "test/vectors/make.py",
        "tools": vector.tools(*LIBRARIES),
        "data": {"kind": kind, "generator": "numpy.random.default_rng", "seed": SEED},
        "recipe": "(code - zero) * scale in float32",
    }
    return vector.write(name, codec, *values.shape, sources, expect, provenance, parameters=parameters)


def agree_gptqmodel(values: np.ndarray, parts: dict, bits: int, planar: bool, zeros: str, group: int) -> None:
    """GPTQModel's module with these tensors, which it dequantizes in F16."""
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.quantization import FORMAT
    from gptqmodel.utils.model import convert_gptq_v1_to_v2_format_module

    rows, columns = values.shape
    format = FORMAT.GPTQ_P if planar else FORMAT.GPTQ_V2 if zeros == "stored" else FORMAT.GPTQ
    sizes = {"in_features": rows, "out_features": columns, "group_size": group, "bits": bits}
    module = TorchLinear(sym=False, desc_act=True, bias=False, format=format, **sizes)
    for name in ("qweight", "qzeros"):
        module.register_buffer(name, torch.from_numpy(parts[name].view(np.int32).copy()))
    module.register_buffer("scales", torch.from_numpy(parts["scales"]))
    module.register_buffer("g_idx", torch.from_numpy(parts["g_idx"].copy()))
    if zeros == "less_one":
        convert_gptq_v1_to_v2_format_module(module, bits, torch.int32)
    module.post_init()
    scaled.agree_torch("gptqmodel", values, module.dequantize_weight())


def agree_auto_round(values: np.ndarray, parts: dict, bits: int, group: int) -> None:
    """auto-round's module, which multiplies as it dequantizes: each row of an identity gives a row of the matrix.

    A sum with zeros loses the sign of a zero.
    """
    from auto_round_extension.torch.qlinear_torch import QuantLinear

    rows, columns = values.shape
    module = QuantLinear(bits, group, rows, columns, bias=False)
    for name in ("qweight", "qzeros"):
        module.register_buffer(name, torch.from_numpy(parts[name].view(np.int32).copy()))
    module.register_buffer("scales", torch.from_numpy(parts["scales"]))
    theirs = module(torch.eye(rows, dtype=torch.float16)).numpy()
    assert (recipe.rounded(values, "F16") == theirs).all()


def gptq(
    name: str,
    bits: int,
    zeros: str,
    dtype: str = "F16",
    planar: bool = False,
    group: int = 32,
    order: np.ndarray | None = None,
    parts: dict | None = None,
    shape: tuple = (64, 32),
    kind: str = "random words",
) -> str:
    """`order`: g_idx; else groups follow each other. `parts`: qweight, qzeros, scales; else random ones."""
    generator = np.random.default_rng([SEED, bits, planar, ZEROS[zeros]])
    rows, columns = shape
    count = -(-rows // group)
    is_shared = planar or bits in (2, 3, 4, 8)
    if parts is None:
        parts = {"qweight": words(generator, rows * bits // 32, columns)}
        parts["qzeros"] = words(generator, count, columns * bits // 32)
        parts["scales"] = (generator.standard_normal((count, columns)) / 64).astype(DTYPES[dtype])
        parts["scales"][0, :4] = [0, 6e-8, 300, 60000 if is_shared else 100]
    codes = recipe_affine.fields(parts["qweight"].T, bits, planar).T[:rows]
    stored = parts["qzeros"]
    middle = np.full((count, columns), 2 ** (bits - 1))
    unpacked = {
        "middle": lambda: middle,
        "stored": lambda: recipe_affine.fields(stored, bits, planar),
        "less_one": lambda: recipe_affine.plus_one(stored, bits, planar),
    }[zeros]()
    index = np.arange(rows) // group if order is None or not order.any() else order
    values = recipe_affine.affine(codes, unpacked[index], parts["scales"][index])
    if HAS_QUANTIZERS and dtype == "F16" and zeros != "middle":
        if is_shared:
            agree_gptqmodel(values, parts | {"g_idx": index.astype(np.int32)}, bits, planar, zeros, group)
        else:
            agree_auto_round(values, parts, bits, group)

    fields = 32 // bits if 32 % bits == 0 else 32
    codes_unit = (1, 4) if 32 % bits == 0 else (0, 0)
    lined = parts["qweight"].reshape(-1, columns * (1 if 32 % bits == 0 else bits))
    sources = [line_source("codes", lined, fields, *codes_unit)]
    width = parts["scales"].dtype.itemsize
    beside = [("scales", parts["scales"], 1, width), ("zeros", stored, fields, fields * bits // 8)]
    for role, data, unit, size in beside[: 1 if zeros == "middle" else 2]:
        sources.append(
            line_source(role, data, group, unit, size) if order is None else whole_source(role, data)
        )
    if order is not None:
        sources.append(whole_source("g_idx", order.astype("<i4")))
    groups = 0 if order is None else count
    parameters = [bits, int(planar), ZEROS[zeros], scaled.SCALES[dtype], group, groups]
    return write(name, "gptq", values, sources, parameters, kind)


def trained_order() -> str:
    """Rows of trained weights, by their size in groups, as act-order has them."""
    weights = trained.tensor(TENSOR)[:32, :96].T
    group = 32
    order = np.empty(96, np.int32)
    order[np.argsort(-np.abs(weights).sum(1), kind="stable")] = np.arange(96) // group
    parts = [weights[order == g] for g in range(96 // group)]
    lowest, highest = (np.stack([edge(part, axis=0) for part in parts]) for edge in (np.min, np.max))
    scales = ((highest - lowest) / 15).astype(np.float16)
    zeros = np.clip(np.round(-lowest / scales), 0, 15).astype(np.uint32)
    codes = np.clip(np.round(weights / scales[order] + zeros[order]), 0, 15).astype(np.uint32)
    shifts = np.arange(0, 32, 4, dtype=np.uint32)
    packed = {
        "qweight": np.bitwise_or.reduce(codes.reshape(12, 8, 32) << shifts[:, None], axis=1),
        "qzeros": np.bitwise_or.reduce(zeros.reshape(3, 4, 8) << shifts, axis=2),
        "scales": scales,
    }
    kind = "trained, " + TENSOR
    return gptq("gptq-trained", 4, "stored", group=group, order=order, parts=packed, shape=(96, 32), kind=kind)


def awq(name: str, with_zeros: bool, dtype: str = "F16", group: int = 16) -> str:
    generator = np.random.default_rng([SEED, with_zeros])
    rows, columns = 48, 40
    packed = words(generator, rows, columns // 8)
    zeros = words(generator, rows // group, columns // 8)
    scales = (generator.standard_normal((rows // group, columns)) / 64).astype(DTYPES[dtype])
    scales[0, :4] = [0, 6e-8, 300, 60000]
    index = np.arange(rows) // group
    unpacked = recipe_affine.awq_fields(zeros) if with_zeros else np.full(scales.shape, 8)
    values = recipe_affine.affine(recipe_affine.awq_fields(packed), unpacked[index], scales[index])
    if HAS_QUANTIZERS and with_zeros:
        from awq.utils.packing_utils import dequantize_gemm

        stored = [torch.from_numpy(part.view(np.int32).copy()) for part in (packed, zeros)]
        scaled.agree_torch("autoawq", values, dequantize_gemm(*stored, torch.from_numpy(scales), 4, group))
    sources = [line_source("codes", packed, 1, 8, 4), line_source("scales", scales, group, 1, 2)]
    sources += [line_source("zeros", zeros, group, 8, 4)] if with_zeros else []
    parameters = [4, 0, int(with_zeros), scaled.SCALES[dtype], group, 0]
    return write(name, "awq", values, sources, parameters, "random words")


def make_all() -> list[str]:
    order = np.random.default_rng(SEED).permutation(np.arange(64) // 16)
    order[::7] -= 4
    whole = [gptq(f"gptq-{bits}bit", bits, "less_one") for bits in (2, 3, 4, 8)]
    second = [gptq(f"gptq-v2-{bits}bit", bits, "stored") for bits in (2, 3, 8)]
    planar = [gptq(f"gptq-planar-{bits}bit", bits, "stored", planar=True) for bits in (3, 5, 6, 7)]
    stream = [gptq(f"gptq-stream-{bits}bit", bits, "stored") for bits in (5, 6, 7)]
    return [
        *whole,
        *second,
        *planar,
        *stream,
        gptq("gptq-order", 4, "less_one", group=16, order=order),
        gptq("gptq-blank-order", 8, "stored", group=16, order=np.zeros(64)),
        gptq("gptq-no-zeros", 4, "middle", "BF16"),
        gptq("gptq-f32-scales", 8, "stored", "F32"),
        trained_order(),
        awq("awq", True),
        awq("awq-no-zeros", False, "BF16"),
    ]
