"""The converter with which transformers loads gpt-oss without MXFP4 kernels: python transformers_convert.py <source> <output>"""

import sys

from checkpoint_file import convert_tensors
from timed import timed
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

with timed():
    convert_tensors(*sys.argv[1:], {"_blocks": ("_scales", "", convert_moe_packed_tensors)})
