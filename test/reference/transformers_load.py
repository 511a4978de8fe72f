"""Loads a quantized gpt-oss folder and its conversion with transformers and compares the two models bit by bit:
python transformers_load.py <quantized folder> <converted folder>

transformers dequantizes the first itself (Mxfp4Config(dequantize=True), on the CPU) and loads the second as any dense
checkpoint. Every tensor of the state dict has to be the same, and so have the logits of a short input.
"""

import sys

import torch
import transformers


def load(path: str, **options) -> transformers.PreTrainedModel:
    """Fails when the checkpoint lacks a tensor of the model, or has one that the model does not know."""
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        path, dtype="auto", device_map="cpu", local_files_only=True, output_loading_info=True, **options
    )
    problems = {key: value for key, value in report.items() if value}
    if problems:
        sys.exit(f"{path}: {problems}")
    return model


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


def main() -> None:
    quantized, converted = sys.argv[1:]
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    reference = load(quantized, quantization_config=transformers.Mxfp4Config(dequantize=True))
    dense = load(converted)
    if getattr(dense.config, "quantization_config", None) is not None:
        sys.exit("the converted config.json still declares a quantization")
    wanted, found = reference.state_dict(), dense.state_dict()
    if list(wanted) != list(found):
        sys.exit(f"tensors differ: {sorted(set(wanted) ^ set(found))}")
    different = [name for name in wanted if not same_bits(wanted[name], found[name])]
    if different:
        sys.exit(f"{len(different)} of {len(wanted)} tensors differ: {different}")
    tokens = torch.arange(16)[None]
    with torch.inference_mode():
        if not same_bits(reference(tokens).logits, dense(tokens).logits):
            sys.exit("same tensors, other logits")
    print(f"{len(wanted)} tensors and the logits are equal")


if __name__ == "__main__":
    main()
