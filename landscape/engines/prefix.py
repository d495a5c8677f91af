"""The first blocks of a model, run once for all positions that leave them as they are.

A position that moves only blocks b and later gives the blocks before them the weights of a label (``w``, or a point).
What block b − 1 puts out is kept for each window, and the next such position is evaluated by the model's own forward in
which the first b blocks hand on what was kept instead of computing it: the same numbers, to the bit. One output is kept
per window, (1, L, d).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from quant.architecture import decoder_blocks


@dataclass(frozen=True)
class _Kept:
    """What the first blocks put out on one window."""

    label: str
    """Whose weights they had."""
    blocks: int
    """How many they are."""
    output: Any
    """Of the last of them: the hidden state, (1, L, d), or a tuple that begins with it."""


class Prefixes:
    """What the first blocks put out, window by window."""

    def __init__(self, model: nn.Module) -> None:
        """Nothing is computed yet."""
        self._blocks = list(decoder_blocks(model)[1])
        self._kept: dict[str, _Kept] = {}

    @contextmanager
    def reused(self, label: str, count: int, window: str) -> Iterator[None]:
        """Inside, one forward pass over a window computes only what is not known yet of the first blocks.

        Args:
            label: Whose weights the first blocks have, in the model at this moment as in every call with this label.
            count: How many blocks have them; what the last of these puts out is kept for the next call.
            window: Identity of the window.
        """
        kept = self._kept.get(window)
        known = kept if kept is not None and kept.label == label and kept.blocks <= count else None
        start = known.blocks if known else 0
        outputs: list[Any] = []
        with ExitStack() as stack:
            if known:
                stack.enter_context(_replayed(self._blocks[:start], known.output))
            if start < count:
                last = self._blocks[count - 1]
                handle = last.register_forward_hook(lambda module, args, output: outputs.append(_copy(output)))
                stack.callback(handle.remove)
            yield
        if len(outputs) == 1:  # of a block that runs several times in one pass it is not known what to hand on
            self._kept[window] = _Kept(label, count, outputs[0])


@contextmanager
def _replayed(blocks: Sequence[nn.Module], output: Any) -> Iterator[None]:
    """Blocks that put out what is known already, whatever comes in."""

    def replay(*args: object, **kwargs: object) -> Any:
        return _copy(output)

    own = [vars(block).get("forward") for block in blocks]  # accelerate's hooks stand there too
    try:
        for block in blocks:
            vars(block)["forward"] = replay
        yield
    finally:
        for block, forward in zip(blocks, own, strict=True):
            if forward is None:
                vars(block).pop("forward", None)
            else:
                vars(block)["forward"] = forward


def _copy(output: Any) -> Any:
    """A block's output with a hidden state of its own, in case the model changes it in place."""
    if isinstance(output, Tensor):
        return output.clone()
    state, *others = output  # blocks of older style return a tuple
    return (state.clone(), *others)
