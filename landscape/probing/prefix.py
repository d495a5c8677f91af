"""Run the first blocks of a model once for all positions that leave them unchanged.

A position that moves only blocks b and later gives the blocks before them the weights of a label (``w``, or a point).
The output of block b − 1 is kept for each window. The next such position is evaluated by the model's own forward, in
which the first b blocks return the kept output instead of computing it: the same numbers, to the bit. The blocks of
some models leave more than their output, so equality is tried before it is relied on. One output is kept per batch of
windows, (B, L, d), as long as they take a quarter of the memory that is left; further batches are evaluated as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from landscape.probing.batches import Batch
from quant.architecture import decoder_blocks
from quant.memory import available_device_memory, available_host_memory
from quant.replay import copied, hidden_state, replayed, replays_exactly

_SHARE = 0.25  # of the memory that is left, for outputs


@dataclass(frozen=True)
class _Kept:
    """The output of the first blocks on one batch."""

    label: str
    """Label of their weights."""
    blocks: int
    """Number of blocks."""
    output: Any
    """Output of the last of them: the hidden state, (B, L, d), or a tuple that begins with it."""

    @property
    def bytes(self) -> int:
        """Memory of the hidden state."""
        return hidden_state(self.output).nbytes


class Prefixes:
    """The kept outputs of the first blocks, by batch."""

    def __init__(self, model: nn.Module) -> None:
        """Bind to a model, with nothing computed yet."""
        self._model = model
        self._blocks = list(decoder_blocks(model)[1])
        self._exact: dict[int, bool] = {}
        self._room: float | None = None  # bytes that outputs may still take; known when the first one is kept
        self._kept: dict[tuple[str, ...], _Kept] = {}

    @contextmanager
    def reused(self, label: str, count: int, batch: Batch) -> Iterator[None]:
        """Replay the known first blocks in one forward pass over a batch, made inside.

        Args:
            label: Label of the weights in the first blocks, the same weights in every call with this label.
            count: Number of blocks with these weights; the output of the last one is kept for the next call.
            batch: The windows.
        """
        kept = self._kept.get(batch.identity)
        usable = kept is not None and kept.label == label and kept.blocks <= count
        known = kept if kept is not None and usable and self._replays_exactly(kept.blocks, batch) else None
        start = known.blocks if known else 0
        outputs: list[Any] = []
        with ExitStack() as stack:
            if known:
                stack.enter_context(replayed(self._blocks[:start], known.output))
            if start < count:
                last = self._blocks[count - 1]
                handle = last.register_forward_hook(lambda module, args, output: outputs.append(copied(output)))
                stack.callback(handle.remove)
            yield
        if len(outputs) == 1:  # a block that runs several times in one pass has no single output to pass on
            self._keep(batch.identity, _Kept(label, count, outputs[0]))

    def _keep(self, batch: tuple[str, ...], kept: _Kept) -> None:
        """Keep an output where there is room for it: a batch without one is evaluated as a whole."""
        if self._room is None:
            device = hidden_state(kept.output).device
            left = available_device_memory(device)  # None for the host; a full card has 0
            self._room = _SHARE * (available_host_memory() if left is None else left)
        if batch in self._kept:
            self._room += self._kept.pop(batch).bytes
        if kept.bytes <= self._room:
            self._room -= kept.bytes
            self._kept[batch] = kept

    def _replays_exactly(self, count: int, batch: Batch) -> bool:
        """Try whether the model computes the same with this many blocks replayed; its structure decides, once."""
        if count not in self._exact:
            exact = replays_exactly(self._model, batch.tokens[0], self._blocks, count, len(self._blocks) - 1)
            if exact is None:
                return False
            self._exact[count] = exact
        return self._exact[count]
