"""The one safetensors file of a checkpoint that conversions are timed on, read and written as its own library does."""

import pathlib

from safetensors import safe_open
from safetensors.torch import save_file


def convert_tensors(source: str, output: str, kinds: dict):
    """`kinds`: by the end of a name, the end of its scale's name, the end of the dense name, and what makes it."""
    target = pathlib.Path(output)
    target.mkdir(parents=True, exist_ok=True)
    dense = {}
    with safe_open(pathlib.Path(source) / "model.safetensors", "pt") as file:
        names = list(file.keys())
        taken = set()
        for name in names:
            for end, (scale_end, dense_end, decode) in kinds.items():
                scale = name.removesuffix(end) + scale_end
                if name.endswith(end) and scale in names:
                    values = decode(file.get_tensor(name), file.get_tensor(scale))
                    dense[name.removesuffix(end) + dense_end] = values.contiguous()
                    taken |= {name, scale}
        for name in names:
            if name not in taken:
                dense[name] = file.get_tensor(name)
    save_file(dense, target / "model.safetensors", {"format": "pt"})
