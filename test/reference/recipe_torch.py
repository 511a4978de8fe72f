"""The same recipe through torch, in the steps of gpt-oss's own loader: table look-up in bfloat16, then torch.ldexp.

torch computed ldexp(x, n) as x * 2^n (pytorch/pytorch#133265) until it began to scale the exponent itself. For MXFP4
the two differ for e = 255 only, where the old factor 2^128 was infinite.
"""

import numpy as np
import torch

from recipe import E2M1

DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


def mxfp4(blocks: torch.Tensor, scales: torch.Tensor, dtype: str) -> torch.Tensor:
    """blocks uint8 [..., G, 16], scales uint8 [..., G] -> dtype [..., 32 G]."""
    table = torch.from_numpy(E2M1).to(DTYPES[dtype])
    codes = torch.stack([blocks & 15, blocks >> 4], dim=-1).flatten(-2)
    values = torch.ldexp(table[codes.int()], (scales.int() - 127).unsqueeze(-1))
    return values.to(DTYPES[dtype]).reshape(*scales.shape[:-1], -1)


def to_numpy(values: torch.Tensor) -> np.ndarray:
    """Bits of a torch tensor as unsigned numpy integers; numpy itself knows no bfloat16."""
    width = {2: torch.int16, 4: torch.int32}[values.element_size()]
    return values.contiguous().view(width).numpy().view(f"u{values.element_size()}")
