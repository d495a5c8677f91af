"""Keep the predictions at w of some windows, which those at other positions are compared with.

They are kept as last hidden states on the model's device: see ``quant.fidelity``. A window has the same ones at every
place of a batch, and beside any other windows, to the bit (``landscape.probing.batches``), so that each is kept once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from landscape.probing.batches import Batch, batches
from landscape.probing.plan import Fidelity, Probe, ProbeResult, Window
from quant.fidelity import batch_fidelity, batch_states
from quant.nll import batch_nll


class References:
    """The last hidden states at w of windows that are compared; there are none at first."""

    def __init__(self) -> None:
        self._states: dict[str, Tensor] = {}
        self._batch = 0

    def hold(self, model: nn.Module, windows: Sequence[Window], batch: int) -> None:
        """Keep those of these windows alone: compute what is missing, one forward pass per batch.

        Args:
            model: The model, at w.
            windows: The windows that a plan compares.
            batch: Number of windows in a forward pass, on which their last bits depend.
        """
        wanted = {window.identity for window in windows} if batch == self._batch else set()
        self._batch = batch
        self._states = {identity: states for identity, states in self._states.items() if identity in wanted}
        for each in batches([window for window in windows if window.identity not in self._states], batch):
            states = batch_states(model, each.tokens)
            kept = states if len(each.windows) == each.size else states[: len(each.windows)].clone()
            self._states.update(zip((window.identity for window in each.windows), kept, strict=True))

    def of(self, batch: Batch) -> Tensor:
        """Return the states of a batch, (B, L − 1, d), where the first windows come again at its end."""
        rows = [self._states[identity] for identity in batch.identity]
        return rows[0][None] if batch.size == 1 else torch.stack([rows[i % len(rows)] for i in range(batch.size)])


def evaluate_batch(model: nn.Module, recipe: str, batch: Batch, references: References | None) -> list[ProbeResult]:
    """Evaluate the windows of a batch in one forward pass.

    Args:
        model: The model, at the position.
        recipe: Recipe of the position.
        batch: The windows.
        references: The predictions at w to compare with; None to measure the loss alone.
    """
    probes = [Probe(recipe, window.identity) for window in batch.windows]
    if references is None:
        losses = batch_nll(model, batch.tokens)
        return [ProbeResult(probe, nll.total, nll.tokens) for probe, nll in zip(probes, losses, strict=False)]
    found = batch_fidelity(model, batch.tokens, references.of(batch))
    return [
        ProbeResult(probe, nll.total, nll.tokens, Fidelity(each.kl, each.agreeing, each.entropy))
        for probe, (nll, each) in zip(probes, found, strict=False)  # others fill the batch
    ]
