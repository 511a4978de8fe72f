"""ggml's own product on the same shapes: `mul_mat` of the library that llama-cpp-python 0.3.36 brings, through ctypes, on
MXFP4 weights as they are (plain) and in the rows-interleaved form that ggml makes for this CPU (repack). Its threads stay
between products. Weights are random codes with scales near 2^0: only time is compared here.
"""

import ctypes
import os
import time

import numpy as np
from serve import serve

MXFP4 = 39
F32 = 0
BLOCK = 32
BLOCK_BYTES = 17


class InitParams(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)]


class ThreadpoolParams(ctypes.Structure):
    _fields_ = [
        ("cpumask", ctypes.c_bool * 512),
        ("n_threads", ctypes.c_int),
        ("prio", ctypes.c_int),
        ("poll", ctypes.c_uint32),
        ("strict_cpu", ctypes.c_bool),
        ("paused", ctypes.c_bool),
    ]


def load_libraries():
    import llama_cpp

    folder = os.path.join(os.path.dirname(llama_cpp.__file__), "lib")
    base = ctypes.CDLL(os.path.join(folder, "libggml-base.so"), mode=ctypes.RTLD_GLOBAL)
    cpu = ctypes.CDLL(os.path.join(folder, "libggml-cpu.so"), mode=ctypes.RTLD_GLOBAL)
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    declare = {
        base: {
            "ggml_init": (pointer, [InitParams]),
            "ggml_new_tensor_2d": (pointer, [pointer, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]),
            "ggml_mul_mat": (pointer, [pointer, pointer, pointer]),
            "ggml_new_graph": (pointer, [pointer]),
            "ggml_build_forward_expand": (None, [pointer, pointer]),
            "ggml_backend_alloc_ctx_tensors_from_buft": (pointer, [pointer, pointer]),
            "ggml_backend_tensor_set": (None, [pointer, pointer, size, size]),
            "ggml_backend_tensor_get": (None, [pointer, pointer, size, size]),
            "ggml_backend_graph_compute": (ctypes.c_int, [pointer, pointer]),
            "ggml_backend_reg_dev_get": (pointer, [pointer, size]),
            "ggml_backend_reg_get_proc_address": (pointer, [pointer, ctypes.c_char_p]),
            "ggml_backend_buft_name": (ctypes.c_char_p, [pointer]),
            "ggml_backend_cpu_buffer_type": (pointer, []),
            "ggml_threadpool_params_init": (None, [ctypes.POINTER(ThreadpoolParams), ctypes.c_int]),
        },
        cpu: {
            "ggml_backend_cpu_init": (pointer, []),
            "ggml_backend_cpu_reg": (pointer, []),
            "ggml_backend_cpu_set_n_threads": (None, [pointer, ctypes.c_int]),
            "ggml_backend_cpu_set_threadpool": (None, [pointer, pointer]),
            "ggml_threadpool_new": (pointer, [ctypes.POINTER(ThreadpoolParams)]),
        },
    }
    for library, functions in declare.items():
        for name, (result, arguments) in functions.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    return base, cpu


class Peer:
    def __init__(self, rows, columns, threads):
        self.base, self.cpu = load_libraries()
        self.rows, self.columns = rows, columns
        self.backend = self.cpu.ggml_backend_cpu_init()
        self.cpu.ggml_backend_cpu_set_n_threads(self.backend, threads)
        if threads > 1:
            params = ThreadpoolParams()
            self.base.ggml_threadpool_params_init(ctypes.byref(params), threads)
            pool = self.cpu.ggml_threadpool_new(ctypes.byref(params))
            self.cpu.ggml_backend_cpu_set_threadpool(self.backend, pool)
        random = np.random.default_rng(1)
        blocks = random.integers(0, 256, (rows * columns // BLOCK, BLOCK_BYTES), dtype=np.uint8)
        blocks[:, 0] = 118 + blocks[:, 0] % 10
        self.weights = blocks.tobytes()
        self.bytes = len(self.weights)
        self.x = random.standard_normal(columns, dtype=np.float32)
        plain = self.base.ggml_backend_cpu_buffer_type()
        self.kinds = {"plain": self.make_graph(plain)}
        repack = self.repack_type()
        if repack is not None:
            self.kinds["repack"] = self.make_graph(repack)

    def repack_type(self):
        """The buffer type in which ggml interleaves rows for this CPU, where it has one."""
        registry = self.cpu.ggml_backend_cpu_reg()
        device = self.base.ggml_backend_reg_dev_get(registry, 0)
        address = self.base.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_dev_get_extra_bufts")
        if not address:
            return None
        extra = ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)(address)(device)
        i = 0
        while extra[i]:
            if self.base.ggml_backend_buft_name(extra[i]) == b"CPU_REPACK":
                return extra[i]
            i += 1
        return None

    def context(self):
        return self.base.ggml_init(InitParams(1 << 20, None, True))

    def make_graph(self, weight_type):
        weights = self.context()
        w = self.base.ggml_new_tensor_2d(weights, MXFP4, self.columns, self.rows)
        if not self.base.ggml_backend_alloc_ctx_tensors_from_buft(weights, weight_type):
            raise MemoryError("no room for the weights")
        self.base.ggml_backend_tensor_set(w, self.weights, 0, len(self.weights))
        vectors = self.context()
        x = self.base.ggml_new_tensor_2d(vectors, F32, self.columns, 1)
        y = self.base.ggml_mul_mat(vectors, w, x)
        graph = self.base.ggml_new_graph(vectors)
        self.base.ggml_build_forward_expand(graph, y)
        self.base.ggml_backend_alloc_ctx_tensors_from_buft(vectors, self.base.ggml_backend_cpu_buffer_type())
        self.base.ggml_backend_tensor_set(x, self.x.ctypes.data, 0, self.x.nbytes)
        return graph, y

    def run(self, kind, count):
        graph, _ = self.kinds[kind]
        times = []
        for _ in range(count):
            begin = time.perf_counter()
            status = self.base.ggml_backend_graph_compute(self.backend, graph)
            times.append(time.perf_counter() - begin)
            if status != 0:
                raise RuntimeError(f"ggml_backend_graph_compute returned {status}")
        return times

    def result(self, kind):
        _, y = self.kinds[kind]
        values = np.empty(self.rows, dtype=np.float32)
        self.base.ggml_backend_tensor_get(y, values.ctypes.data, 0, values.nbytes)
        return values

    def exact(self, rows):
        """W · x of the first rows in f64, so that a product of nothing is not timed."""
        table = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6])
        blocks = np.frombuffer(self.weights, dtype=np.uint8)[: rows * self.columns // BLOCK * BLOCK_BYTES]
        blocks = blocks.reshape(rows, -1, BLOCK_BYTES)
        codes = np.concatenate([blocks[..., 1:] & 15, blocks[..., 1:] >> 4], axis=-1)
        weights = table[codes] * np.exp2(blocks[..., :1].astype(np.float64) - 127)
        return weights.reshape(rows, -1) @ self.x.astype(np.float64)

    def relative_errors(self):
        rows = min(self.rows, 64)
        exact = self.exact(rows)
        errors = {}
        for kind in self.kinds:
            self.run(kind, 1)
            difference = self.result(kind)[:rows] - exact
            errors[kind] = float(np.linalg.norm(difference) / np.linalg.norm(exact))
        return errors


if __name__ == "__main__":
    serve(Peer)
