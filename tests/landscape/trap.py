"""A model with the trap of real models planted in it, its anatomy, and the same losses by hand.

Two blocks get three huge weights each, which the bias takes back: the model is as good as before, but a scale of least
squared error clips them, as it does in SmolLM2-135M.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from landscape.anatomy.request import AnatomyRequest
from landscape.estimators.loss_limit import Limit
from landscape.session.presets import PRESETS
from quant.center import Center
from quant.checkpoints.checkpoint import load_checkpoint
from quant.corpora.corpus import load_corpus

PLANTED = (1, 3)
OUTLIERS = 80  # standard deviations
LIMIT = Limit.parse("ppl+15%")  # above the noise of four windows of 32 tokens
SMALL = replace(PRESETS["quick"], train_windows=1, validation_windows=4, test_windows=2, seq_len=32)


def save_trap(path: Path) -> None:
    """Save the model with the trap, and its tokenizer, to a folder."""
    checkpoint = load_checkpoint("opt-nano")
    with torch.no_grad():
        for block in PLANTED:
            layer = checkpoint.model.model.decoder.layers[block]
            layer.final_layer_norm.weight[7], layer.final_layer_norm.bias[7] = 0, 1  # a constant, which acts as a bias
            huge, rows = OUTLIERS * float(layer.fc1.weight.std()), [3, 100, 200]
            layer.fc1.bias[rows] += layer.fc1.weight[rows, 7] + huge
            layer.fc1.weight[rows, 7] = -huge
    checkpoint.model.save_pretrained(path)
    checkpoint.tokenizer.save_pretrained(path)


def asked(folder: Path, store: Path) -> AnatomyRequest:
    """The anatomy of the point that falls into the trap."""
    return AnatomyRequest(
        str(folder), "tales", bits=4, method="rtn", preset=SMALL, directions=2,
        groups=("block",), layer_radii=False, limit=LIMIT, store=store,
    )  # fmt: skip


class ByHand:
    """Losses with transformers' own loss, and nothing of the house but the weights."""

    def __init__(self, folder: Path) -> None:
        self.checkpoint = load_checkpoint(str(folder))
        self.space = self.checkpoint.space
        self.center = Center.of(self.checkpoint.model, self.space)
        self.tokens = load_corpus("tales", self.checkpoint, 32).windows("validation", 4, 0)

    def nll(self, at=None) -> float:
        """Mean over the windows, of weights given as a function of the slot."""
        with torch.no_grad():
            for slot, parameter in self.space.weights(self.checkpoint.model):
                parameter.copy_(self.center.tensor(slot) if at is None else at(slot))
            model = self.checkpoint.model
            return float(np.mean([model(input_ids=t[None], labels=t[None]).loss.item() for t in self.tokens]))

    def rise(self, at) -> float:
        return self.nll(at) - self.nll()

    def u(self, direction, radius: float) -> float:
        span = math.log(1024) - self.nll()
        return self.rise(lambda slot: self.center.tensor(slot) + radius * direction.tensor(slot)) / span
