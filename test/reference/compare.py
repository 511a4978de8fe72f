"""Compares a converted checkpoint with its source on every element: python compare.py <source> <output>
    [--to BF16|F16|F32] [--by numpy|torch]

Expects what gpt-oss's own loader makes of `X.blocks` and `X.scales` ([experts, out, in] under the name X), what
transformers makes of `X_blocks` and `X_scales` ([experts, in, out]), what compressed-tensors makes of
`X.weight_packed`, and the stored bytes of every other tensor. Works on one expert at a time. Exits with 1 and names
the first element that differs.

--by numpy evaluates the recipe once for each pair of scale byte and code byte and looks the elements up; --by torch
runs the recipe on the elements themselves.
"""

import argparse
import pathlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import checkpoint
import recipe


@dataclass(frozen=True)
class Expected:
    """A tensor that the output has to hold; `scales` is None where bytes are copied."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    blocks: checkpoint.Tensor
    scales: checkpoint.Tensor | None
    transposed: bool
    # compressed-tensors: the scale byte 255 is an infinite factor. recipe.py says more.
    infinite_last_scale: bool = False


def expected_tensors(source: dict[str, checkpoint.Tensor], dtype: str) -> list[Expected]:
    expected = []
    for name, tensor in source.items():
        if name.endswith((".blocks", "_blocks")):
            experts, out, groups, _ = tensor.shape
            transposed = name.endswith("_blocks")
            shape = (experts, 32 * groups, out) if transposed else (experts, out, 32 * groups)
            scales = source[name[: -len("blocks")] + "scales"]
            expected.append(Expected(name[: -len(".blocks")], dtype, shape, tensor, scales, transposed))
        elif name.endswith(".weight_packed"):
            out, half = tensor.shape
            scales = source[name.removesuffix("_packed") + "_scale"]
            expected.append(Expected(name.removesuffix("_packed"), dtype, (out, 2 * half), tensor, scales, False, True))
        elif not name.endswith((".scales", "_scales", ".weight_scale")):
            expected.append(Expected(name, tensor.dtype, tensor.shape, tensor, None, False))
    return expected


def numpy_decoder(dtype: str, infinite_last_scale: bool = False) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Bits of the dense values of blocks [out, G, 16] and scales [out, G]."""
    every_byte = np.tile(np.arange(256, dtype=np.uint8).reshape(1, 16, 16), (256, 1, 1))
    every_scale = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 16, axis=1)
    values = recipe.canonical(recipe.rounded(recipe.mxfp4(every_byte, every_scale, infinite_last_scale), dtype))
    # Entry e * 256 + b holds the two elements that byte b means under scale e.
    table = values.reshape(-1).view(f"u{2 * values.dtype.itemsize}")

    def decode(blocks: np.ndarray, scales: np.ndarray) -> np.ndarray:
        pairs = table[scales.astype(np.uint16)[..., None] << 8 | blocks]
        return pairs.view(values.dtype).reshape(len(blocks), -1)

    return decode


def torch_decoder(dtype: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    import torch

    import recipe_torch

    def decode(blocks: np.ndarray, scales: np.ndarray) -> np.ndarray:
        values = recipe_torch.mxfp4(torch.from_numpy(blocks.copy()), torch.from_numpy(scales.copy()), dtype)
        return recipe_torch.to_numpy(values)

    return decode


def fail(tensor: Expected, found: np.ndarray, wanted: np.ndarray, before: int) -> None:
    """Exits, naming the first of the differing elements; `before` elements of the tensor came earlier."""
    different = np.flatnonzero(found != wanted)
    index = different[0]
    values = f"expected {wanted.reshape(-1)[index]:#x}, found {found.reshape(-1)[index]:#x}"
    sys.exit(f"{tensor.name}: {len(different)} elements differ, first [{before + index}]: {values}")


def compare_weight(tensor: Expected, found: checkpoint.Tensor, decode: Callable) -> int:
    """Returns the number of elements, all of them equal."""
    blocks, scales, dense = tensor.blocks.raw(), tensor.scales.raw(), found.raw()
    if blocks.ndim == 2:
        blocks, scales, dense = blocks.reshape(1, *scales.shape, 16), scales[None], dense[None]
    for index in range(len(dense)):
        wanted = decode(blocks[index], scales[index])
        if tensor.transposed:
            wanted = np.ascontiguousarray(wanted.T)
        if not np.array_equal(dense[index], wanted):
            fail(tensor, dense[index], wanted, index * wanted.size)
    return dense.size


def compare_copy(tensor: Expected, found: checkpoint.Tensor) -> int:
    """Returns the number of bytes, all of them equal."""
    if not np.array_equal(tensor.blocks.bytes(), found.bytes()):
        fail(tensor, found.bytes(), tensor.blocks.bytes(), 0)
    return found.size


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--to", default="BF16", choices=recipe.DENSE)
    parser.add_argument("--by", default="numpy", choices=("numpy", "torch"))
    options = parser.parse_args()
    start = time.monotonic()
    expected = expected_tensors(checkpoint.read(options.source), options.to)
    found = checkpoint.read(options.output)
    if set(found) != {tensor.name for tensor in expected}:
        sys.exit(f"tensors differ: {sorted(set(found) ^ {tensor.name for tensor in expected})}")
    decode = {"numpy": numpy_decoder, "torch": torch_decoder}[options.by](options.to)
    # torch's ldexp is the recipe of gpt-oss; the other one is stated in numpy only.
    decode_infinite = numpy_decoder(options.to, True)
    weights = elements = copied = 0
    for tensor in expected:
        other = found[tensor.name]
        if (other.dtype, other.shape) != (tensor.dtype, tensor.shape):
            sys.exit(f"{tensor.name}: expected {tensor.dtype} {tensor.shape}, found {other.dtype} {other.shape}")
        if tensor.scales is None:
            copied += compare_copy(tensor, other)
        else:
            weights += 1
            elements += compare_weight(tensor, other, decode_infinite if tensor.infinite_last_scale else decode)
    print(f"{weights} weights, {elements} elements equal")
    print(f"{len(expected) - weights} tensors, {copied} bytes copied")
    print(f"by {options.by} in {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main()
