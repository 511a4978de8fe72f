"""The shape of a golden vector, and how one is written.

    {"codec", "rows", "columns", "parameters",
     "sources": [{"role", "rows_per_line", "line_bytes", "unit_columns", "unit_bytes", "hex"}],
     "expect": {"bf16": hex, "f16": hex, "f32": hex}, "provenance": {...}}

`sources` describe the stored bytes in the words of `Source` in kernels/abi.zig; `expect` holds rows * columns dense
elements, row-major. All bytes are little-endian, as in a file. A vector of one of several matrices that share their
bytes has its number as "batch".
"""

import hashlib
import importlib.metadata
import json
import pathlib
import platform

import numpy as np

# Where vectors are written; a check of the scripts sets another place.
folder = pathlib.Path(__file__).resolve().parent


def source(role: str, data: np.ndarray, rows: int, unit_columns: int, unit_bytes: int) -> dict:
    """A source whose lines are rows: `data` holds all of its bytes."""
    raw = np.ascontiguousarray(data).tobytes()
    assert len(raw) % rows == 0
    return {
        "role": role,
        "rows_per_line": 1,
        "line_bytes": len(raw) // rows,
        "unit_columns": unit_columns,
        "unit_bytes": unit_bytes,
        "hex": raw.hex(),
    }


def tools(*names: str) -> dict:
    """Versions of the libraries that took part."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}


def write(name: str, codec: str, rows: int, columns: int, sources: list, expect: dict, provenance: dict, **more) -> str:
    """Writes <name>.json. `expect`: dtype -> unsigned integer bits [rows, columns]. Returns the name."""
    dense = {}
    for dtype, values in expect.items():
        assert values.shape == (rows, columns) and values.dtype.kind == "u", (name, dtype, values.shape, values.dtype)
        dense[dtype.lower()] = np.ascontiguousarray(values).tobytes().hex()
    digest = hashlib.sha256()
    for text in [s["hex"] for s in sources] + list(dense.values()):
        digest.update(bytes.fromhex(text))
    vector = {"codec": codec, "rows": rows, "columns": columns, "parameters": [], "sources": sources, "expect": dense}
    vector |= more | {"provenance": provenance | {"sha256": digest.hexdigest()}}
    text = json.dumps(vector, indent=1) + "\n"
    (folder / f"{name}.json").write_text(text)
    return name
