"""Makes activations.json: results of torch and of gpt-oss in f64, for the products' activations.

    pip install torch==2.15.0 && pip install --no-deps --python-version 3.12 --target gpt-oss gpt-oss==0.0.9
    PYTHONPATH=gpt-oss python make_activations.py > activations.json

`values` are single sums, extremes among them, and what each activation makes of them, neighbours being the pairs of
swiglu_oss and the two halves those of swiglu. `layer` is a small linear layer with a bias.
"""
import json

import torch
import torch.nn.functional as F
from gpt_oss.torch.model import swiglu as swiglu_oss

torch.manual_seed(5)


def swiglu(x):
    gate, up = x.chunk(2, dim=-1)
    return F.silu(gate) * up


ACTIVATIONS = {
    "none": lambda x: x,
    "relu": F.relu,
    "silu": F.silu,
    "gelu": lambda x: F.gelu(x, approximate="none"),
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "swiglu": swiglu,
    "swiglu_oss": swiglu_oss,
}


def results(x):
    return {name: function(x.double()).flatten().tolist() for name, function in ACTIVATIONS.items()}


extremes = [0, 1e-30, 1e-5, 0.1, 0.5, 1, 2, 3, 4.5, 6, 6.999, 7, 7.001, 8, 10, 13, 17, 20, 40, 87, 90, 104, 300, 65504]
extremes = torch.tensor(extremes + [-value for value in extremes], dtype=torch.float32)
values = torch.cat([extremes[torch.randperm(len(extremes))], 4 * torch.randn(48)])

weight, bias, x = torch.randn(24, 20), torch.randn(24), torch.randn(3, 20)
sums = F.linear(x.double(), weight.double(), bias.double())

print(
    json.dumps(
        {
            "made_by": f"torch {torch.__version__.split('+')[0]}, gpt-oss 0.0.9",
            "values": {"x": values.tolist(), "y": results(values)},
            "layer": {
                "rows": 24,
                "columns": 20,
                "batch": 3,
                "weight": weight.flatten().tolist(),
                "bias": bias.tolist(),
                "x": x.flatten().tolist(),
                "y": results(sums),
            },
        },
    )
)
