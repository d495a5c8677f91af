"""The first blocks of a model, run once for all positions that leave them as they are.

A position that moves only blocks b and later gives the blocks before them the weights of a label (``w``, or a point).
The output of block b − 1 is kept for each window, and the next such position is evaluated by the model's own forward in
which the first b blocks return what was kept instead of computing it: the same numbers, to the bit. That is tried
before it is relied on, since the blocks of some models leave more than their output. One output is kept per window,
(1, L, d).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from landscape.probing.plan import Window
from quant.architecture import decoder_blocks
from quant.replay import copied, replayed, replays_exactly


@dataclass(frozen=True)
class _Kept:
    """The output of the first blocks on one window."""

    label: str
    """Whose weights they had."""
    blocks: int
    """How many they are."""
    output: Any
    """Of the last of them: the hidden state, (1, L, d), or a tuple that begins with it."""


class Prefixes:
    """The outputs of the first blocks, window by window."""

    def __init__(self, model: nn.Module) -> None:
        """Nothing is computed yet."""
        self._model = model
        self._blocks = list(decoder_blocks(model)[1])
        self._exact: dict[int, bool] = {}
        self._kept: dict[str, _Kept] = {}

    @contextmanager
    def reused(self, label: str, count: int, window: Window) -> Iterator[None]:
        """Inside, one forward pass over a window computes only what is not known yet of the first blocks.

        Args:
            label: Whose weights the first blocks have, in the model at this moment as in every call with this label.
            count: How many blocks have them; the output of the last of these is kept for the next call.
            window: The window.
        """
        kept = self._kept.get(window.identity)
        usable = kept is not None and kept.label == label and kept.blocks <= count
        known = kept if kept is not None and usable and self._replays_exactly(kept.blocks, window) else None
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
        if len(outputs) == 1:  # of a block that runs several times in one pass it is not known what to hand on
            self._kept[window.identity] = _Kept(label, count, outputs[0])

    def _replays_exactly(self, count: int, window: Window) -> bool:
        """Whether the model computes the same with so many blocks replayed: a matter of its structure, tried once."""
        if count not in self._exact:
            last = len(self._blocks) - 1
            self._exact[count] = replays_exactly(self._model, window.tokens, self._blocks, count, last)
        return self._exact[count]
