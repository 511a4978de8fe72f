"""Tensors of a GGUF file as BF16 in a safetensors file: python gguf_convert.py gguf-py|ggml <source> <output>

gguf-py: its numpy code. ggml: to_float of the library that llama-cpp-python brings, then its conversion to BF16, runs of
rows on as many threads as there are CPUs.
"""

import concurrent.futures
import ctypes
import os
import pathlib
import sys

import gguf
import ml_dtypes
import numpy as np
from safetensors.numpy import save_file
from timed import timed

#: Values of a run: their f32 stay in the second-level cache.
RUN = 64 << 10


def decode_gguf(tensor) -> np.ndarray:
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(ml_dtypes.bfloat16)


class Traits(ctypes.Structure):
    """struct ggml_type_traits of ggml.h."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("block", ctypes.c_int64),
        ("interleave", ctypes.c_int64),
        ("size", ctypes.c_size_t),
        ("quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
    ]


def make_decode_ggml():
    import llama_cpp

    folder = os.path.join(os.path.dirname(llama_cpp.__file__), "lib")
    base = ctypes.CDLL(os.path.join(folder, "libggml-base.so"))
    base.ggml_get_type_traits.restype = ctypes.POINTER(Traits)
    base.ggml_fp32_to_bf16_row.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    threads = len(os.sched_getaffinity(0))

    def decode(tensor) -> np.ndarray:
        traits = base.ggml_get_type_traits(int(tensor.tensor_type)).contents
        count = int(tensor.n_elements)
        out = np.empty(count, np.uint16)
        source, target = tensor.data.ctypes.data, out.ctypes.data

        def work(first: int):
            floats = np.empty(RUN, np.float32)
            for begin in range(first * RUN, count, threads * RUN):
                size = min(RUN, count - begin)
                traits.to_float(source + begin // traits.block * traits.size, floats.ctypes.data, size)
                base.ggml_fp32_to_bf16_row(floats.ctypes.data, target + begin * 2, size)

        with concurrent.futures.ThreadPoolExecutor(threads) as executor:
            list(executor.map(work, range(threads)))
        return out.view(ml_dtypes.bfloat16).reshape(tensor.shape[::-1])

    return decode


kind, source, output = sys.argv[1:]
decode = decode_gguf if kind == "gguf-py" else make_decode_ggml()
with timed():
    pathlib.Path(output).mkdir(parents=True, exist_ok=True)
    reader = gguf.GGUFReader(source)
    save_file({tensor.name: decode(tensor) for tensor in reader.tensors}, pathlib.Path(output) / "model.safetensors")
