"""dequantize_model of GPTQModel: python gptqmodel_convert.py <source> <output>"""

import sys

from gptqmodel.utils.model_dequant import dequantize_model
from timed import timed

with timed():
    dequantize_model(*sys.argv[1:], device="cpu")
