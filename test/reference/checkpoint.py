"""Reads safetensors files and folders without any library: a comparison shares no code with what it judges."""

import json
import pathlib
import struct
from dataclasses import dataclass

import numpy as np

WIDTHS = {"BF16": 2, "F16": 2, "F32": 4, "U8": 1}


@dataclass(frozen=True)
class Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]
    file: pathlib.Path
    offset: int
    size: int

    def bytes(self) -> np.ndarray:
        """The stored bytes, mapped: nothing is read until it is touched."""
        if self.size == 0:
            return np.empty(0, np.uint8)
        return np.memmap(self.file, np.uint8, "r", self.offset, self.size)

    def raw(self) -> np.ndarray:
        """The elements' bits as unsigned integers, in the tensor's shape."""
        return self.bytes().view(f"u{WIDTHS[self.dtype]}").reshape(self.shape)


def read_file(path: pathlib.Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    start = 8 + length
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = Tensor(name, entry["dtype"], tuple(entry["shape"]), path, start + begin, end - begin)
    assert max((t.offset + t.size for t in tensors.values()), default=start) == path.stat().st_size, path
    return tensors


def read(path: pathlib.Path) -> dict[str, Tensor]:
    """Every tensor of a file or of a folder's shards; where there is an index, it has to name exactly these."""
    if path.is_file():
        return read_file(path)
    tensors: dict[str, Tensor] = {}
    for shard in sorted(path.glob("*.safetensors")):
        for name, tensor in read_file(shard).items():
            assert name not in tensors, f"{name} is in two shards"
            tensors[name] = tensor
    index = path / "model.safetensors.index.json"
    if index.exists():
        content = json.loads(index.read_text())
        assert content["weight_map"] == {name: tensor.file.name for name, tensor in tensors.items()}, "weight_map"
        assert content["metadata"]["total_size"] == sum(tensor.size for tensor in tensors.values()), "total_size"
    return tensors
