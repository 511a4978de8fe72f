"""Runs a GGUF model in llama.cpp and its conversion in transformers: python gguf_run.py MODEL.gguf FOLDER

Prints the correlation of all logits. llama.cpp multiplies with activations of 8 bits, so that it is not quite 1; a
permutation, a transposition or a setting that is wrong brings it far below. "cannot run" where llama.cpp asks for more
metadata than the model has.
"""

import sys

import llama_cpp
import numpy as np
import torch
import transformers

TOKENS = list(range(3, 15))


def main() -> None:
    path, folder = sys.argv[1:]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        ours = model(torch.tensor([TOKENS])).logits[0].numpy()
    try:
        peer = llama_cpp.Llama(path, n_ctx=64, logits_all=True, verbose=False, n_threads=1)
    except ValueError:
        sys.exit("cannot run")
    peer.eval(TOKENS)
    theirs = np.array(peer.scores[: len(TOKENS)])
    print(f"{np.corrcoef(ours.reshape(-1), theirs.reshape(-1))[0, 1]:.5f}")


if __name__ == "__main__":
    main()
