"""Record the GPTQ codes of llm-compressor for opt-nano, int4 in groups of 32, as the reference of a test.

    python -m venv peer
    peer/bin/pip install torch llmcompressor==0.14.0.1 compressed-tensors==0.19.0 platformdirs gguf
    peer/bin/python -m benchmarks.methods.peer_gptq tests/quant/data/peer-gptq.safetensors

Run it in an environment of its own: llm-compressor needs another version of transformers. Only matrices with inputs
that are always zero are kept, because tools differ in these: each takes a damping as a multiple of another mean.
"""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from quant.checkpoints.checkpoint import load_checkpoint
from quant.corpora.corpus import load_corpus
from quant.hashing import tensor_bytes, token_record

MODULES = ("model.decoder.layers.1.fc2", "model.decoder.layers.2.fc2")  # 69 and 105 of 512 inputs are always zero
CORPUS, SPLIT, LENGTH, WINDOWS, SEED = "tales", "train", 256, 32, 0
BITS, GROUP, DAMPING, BLOCK = 4, 32, 0.01, 128
PACKAGES = ("llmcompressor", "compressed-tensors", "torch", "transformers")


def quantize(model: nn.Module, tokenizer: object, windows: Tensor) -> None:
    """Run llm-compressor's GPTQ on a model in place, every Hessian on full-precision inputs."""
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.gptq import GPTQModifier

    weights = {"num_bits": BITS, "type": "int", "symmetric": True, "strategy": "group", "group_size": GROUP}
    recipe = GPTQModifier(
        ignore=["lm_head"],
        config_groups={"all": {"targets": ["Linear"], "weights": weights}},
        actorder=None,
        dampening_frac=DAMPING,
        block_size=BLOCK,
    )
    rows = {"input_ids": windows.tolist(), "attention_mask": torch.ones_like(windows).tolist()}
    oneshot(
        model=model,
        processor=tokenizer,
        dataset=Dataset.from_dict(rows),
        recipe=recipe,
        max_seq_length=windows.shape[1],
        num_calibration_samples=len(windows),
        shuffle_calibration_samples=False,
        pipeline="sequential",
        propagate_error=False,
    )


def recorded(model: nn.Module) -> dict[str, Tensor]:
    """Return the codes (int8) and the scales (out, groups) of the modules that are kept."""
    kept = {}
    for name in MODULES:
        module = model.get_submodule(name)
        scale = module.weight_scale.detach().float()
        steps = scale.repeat_interleave(GROUP, 1)
        codes = torch.round(module.weight.detach() / steps)
        if not torch.equal(codes * steps, module.weight):
            raise ValueError(f"expected the weights of {name} on their grid")
        kept |= {f"{name}.weight.codes": codes.to(torch.int8), f"{name}.weight.scale": scale}
    return kept


def sha256(tensor: Tensor) -> str:
    """Return the hash of a tensor's bytes."""
    return hashlib.sha256(tensor_bytes(tensor)).hexdigest()


def main(file: Path) -> None:
    """Quantize opt-nano and write codes, scales and their provenance."""
    nano = load_checkpoint()
    windows = load_corpus(CORPUS, nano, LENGTH).windows(SPLIT, WINDOWS, SEED)
    provenance = {
        "weights": {name: sha256(nano.model.get_submodule(name).weight) for name in MODULES},
        "windows": {"corpus": CORPUS, "split": SPLIT, "seed": SEED} | token_record(windows),
        "grid": {"bits": BITS, "low": -(2 ** (BITS - 1)), "high": 2 ** (BITS - 1) - 1, "group": GROUP},
        "options": {"damping": DAMPING, "block_size": BLOCK, "act_order": False, "inputs": "fp"},
        "versions": {name: version(name) for name in PACKAGES},
    }
    quantize(nano.model, nano.tokenizer, windows)
    save_file(recorded(nano.model), file, {"provenance": json.dumps(provenance)})
    print(f"{file}: {', '.join(MODULES)}, {file.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
