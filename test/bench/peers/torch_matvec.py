"""torch's product of a dense BF16 weight and a BF16 vector, and the way of gpt-oss's weights.py with an MXFP4 weight:
make it dense, then multiply. Only time is compared here.
"""

import time

import torch
from serve import serve

BLOCK = 32
CODES = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6]


class Peer:
    kinds = ("bf16", "expand")

    def __init__(self, rows, columns, threads):
        torch.set_num_threads(threads)
        torch.manual_seed(1)
        self.codes = torch.randint(0, 256, (rows, columns // BLOCK, BLOCK // 2), dtype=torch.uint8)
        self.scales = torch.randint(-9, 1, (rows, columns // BLOCK), dtype=torch.int32)
        self.x = torch.randn(columns, dtype=torch.bfloat16)
        self.dense = self.expand(torch.bfloat16)
        self.bytes = self.dense.numel() * 2

    def expand(self, dtype):
        """gpt_oss/torch/weights.py: a table of codes, even columns in the low nibbles, times two to the scale."""
        table = torch.tensor(CODES, dtype=dtype)
        values = torch.empty(*self.codes.shape[:2], BLOCK, dtype=dtype)
        values[..., 0::2] = table[(self.codes & 15).int()]
        values[..., 1::2] = table[(self.codes >> 4).int()]
        torch.ldexp(values, self.scales[..., None], out=values)
        return values.view(self.codes.shape[0], -1)

    def run(self, kind, count):
        times = []
        for _ in range(count):
            begin = time.perf_counter()
            weight = self.expand(torch.bfloat16) if kind == "expand" else self.dense
            torch.mv(weight, self.x)
            times.append(time.perf_counter() - begin)
        return times

    def relative_errors(self):
        exact = self.dense[:64].double() @ self.x.double()
        found = torch.mv(self.dense[:64], self.x).double()
        return {"bf16": float((found - exact).norm() / exact.norm())}


if __name__ == "__main__":
    serve(Peer)
