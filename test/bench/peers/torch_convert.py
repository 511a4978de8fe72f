"""What people run with torch alone: python torch_convert.py gpt-oss|fp8 <source> <output>

gpt-oss: the recipe of the model's own loader, pieces of rows looked up in a table of BF16 and scaled by ldexp. fp8: codes
to f32, times the scales of their blocks, to BF16, as DeepSeek's script does on a CPU.
"""

import math
import sys

import torch
from checkpoint_file import convert_tensors
from timed import timed

E2M1 = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
ROWS = 16384 * 512 // 32
BLOCK = 128


def mxfp4(blocks: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """blocks uint8 [..., G, 16], scales uint8 [..., G] -> bfloat16 [..., 32 G]."""
    table = torch.tensor(E2M1 + [-value for value in E2M1], dtype=torch.bfloat16)
    *outer, groups, size = blocks.shape
    rows = math.prod(outer) * groups
    blocks = blocks.reshape(rows, size)
    exponents = (scales.to(torch.int32) - 127).reshape(rows, 1)
    out = torch.empty(rows, size * 2, dtype=torch.bfloat16)
    for begin in range(0, rows, ROWS):
        codes, exponent, part = blocks[begin : begin + ROWS], exponents[begin : begin + ROWS], out[begin : begin + ROWS]
        part[:, 0::2] = table[(codes & 15).to(torch.long)]
        part[:, 1::2] = table[(codes >> 4).to(torch.long)]
        torch.ldexp(part, exponent, out=part)
    return out.reshape(*outer, groups * size * 2)


def fp8(codes: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """codes float8_e4m3fn [rows, columns], scales float32 of blocks of 128 x 128 -> bfloat16."""
    rows, columns = codes.shape
    wide = scales.repeat_interleave(BLOCK, 0)[:rows].repeat_interleave(BLOCK, 1)[:, :columns]
    return (codes.to(torch.float32) * wide).to(torch.bfloat16)


KINDS = {
    "gpt-oss": {".blocks": (".scales", "", mxfp4)},
    "fp8": {".weight": (".weight_scale_inv", ".weight", fp8)},
}

recipe, source, output = sys.argv[1:]
with timed():
    convert_tensors(source, output, KINDS[recipe])
