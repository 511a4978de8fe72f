"""convert_checkpoint of compressed-tensors on FP8 blocks: python compressed_tensors_convert.py <source> <output>"""

import sys

from compressed_tensors.entrypoints.convert import FP8BlockDequantizer, convert_checkpoint
from timed import timed

if __name__ == "__main__":
    source, output = sys.argv[1:]
    with timed():
        convert_checkpoint(source, output, FP8BlockDequantizer.from_pretrained(source))
