"""Writes iq_grids_data.zig from gguf-py: pip install gguf==0.19.0; python kernels/codecs/iq_grids.py

Each entry of a grid is one number of four hexadecimal digits: element k is the index of its value in the type's map, in
bits 2k and 2k + 1 (IQ1, IQ2) or 3k to 3k + 2 (IQ3).
"""

import pathlib

from gguf import quants

TARGET = pathlib.Path(__file__).with_name("iq_grids_data.zig")
ENTRIES_PER_LINE = 20
TYPES = {
    "iq2_xxs": quants.IQ2_XXS,
    "iq2_xs": quants.IQ2_XS,
    "iq2_s": quants.IQ2_S,
    "iq3_xxs": quants.IQ3_XXS,
    "iq3_s": quants.IQ3_S,
    "iq1": quants.IQ1_S,
}


def digits(kind: type) -> str:
    kind.init_grid()
    bits = 2 if kind.grid_shape[1] == 8 else 3
    indexes = [[kind.grid_map.index(int(value)) for value in entry] for entry in kind.grid.reshape(kind.grid_shape)]
    return "".join(f"{sum(index << bits * k for k, index in enumerate(entry)):04x}" for entry in indexes)


def main() -> None:
    assert quants.IQ1_M.grid_hex == quants.IQ1_S.grid_hex
    lines = ["//! Grids of ggml's IQ types, packed. Made by iq_grids.py from gguf-py; iq_grids.zig describes them.", ""]
    for name, kind in TYPES.items():
        text = digits(kind)
        step = 4 * ENTRIES_PER_LINE
        lines += [f"pub const {name} ="]
        lines += [f"    \\\\{text[i : i + step]}" for i in range(0, len(text), step)]
        lines += [";"]
        kind_map = ", ".join(str(value) for value in kind.grid_map)
        lines += [f"pub const {name}_map = [_]i8{{ {kind_map} }};", ""]
    TARGET.write_text("\n".join(lines[:-1]) + "\n")


if __name__ == "__main__":
    main()
