"""Run token windows through the decoder stack, one block at a time.

Memory holds only the last block's output for each window, and the Hessians of one block. One window is one forward
pass, as in ``quant.nll``, so that nothing depends on batching. Every pass is the model's own forward, its first blocks
replayed where that is exact (``quant.replay``) and run again where it is not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from quant.architecture import decoder_blocks
from quant.errors import UsageError
from quant.methods.hessians import GramMatrices, SharedHessian
from quant.numerics import full_float32
from quant.products import WatchedProducts
from quant.replay import Call, replays_exactly, run_through
from quant.space import Slot, WeightSpace

_log = logging.getLogger(__name__)


class BlockStream:
    """The hidden states of all windows on their way through the stack.

    Attributes:
        blocks: The decoder blocks.
    """

    def __init__(self, model: nn.Module, windows: Tensor) -> None:
        """Start before the first block.

        Args:
            model: A transformers causal LM, in eval mode.
            windows: (n, L) token ids.

        Raises:
            UsageError: if there are no windows.
        """
        if windows.ndim != 2 or windows.numel() == 0:
            raise UsageError(f"expected token windows of shape (n, L), got {tuple(windows.shape)}")
        self._model, self._windows = model, windows
        self.blocks = list(decoder_blocks(model)[1])
        self._states: list[Any] = [None] * len(windows)
        self._last = _last_uses(self.blocks)
        self._exact: dict[int, bool] = {}

    def replays_exactly(self, index: int) -> bool:
        """Return whether the blocks before this one can be replayed (tried once); else they are run again for it."""
        if index not in self._exact:
            exact = replays_exactly(self._model, self._windows[0], self.blocks, index, self._last[index])
            if exact is None:  # no finite output to compare: what takes these outputs refuses them
                return True
            if not exact:
                _log.warning("blocks before block %d leave more than their output: they are run again for it", index)
            self._exact[index] = exact
        return self._exact[index]

    def runs_alone(self, index: int) -> bool:
        """Return whether this block reads nothing of others but the hidden state, and shares no matrix with them."""
        return self._last[index] == index and self.replays_exactly(index)

    @torch.no_grad()
    def calls(self, index: int) -> Iterator[Call]:
        """Yield the call of block ``index`` on each window, with the model's present weights."""
        exact = self.replays_exactly(index)
        for window, state in zip(self._windows, self._states, strict=True):
            before = state if exact else None
            yield run_through(self._model, window, self.blocks, index, self._last[index], before)

    def hold(self, outputs: Sequence[Any]) -> None:
        """Continue from what a block returned for each window."""
        self._states = list(outputs)

    def advance(self, index: int) -> None:
        """Continue from what block ``index`` returns with the model's present weights."""
        self.hold([call.output for call in self.calls(index)])

    def hessians(self, index: int, slots: Sequence[Slot], *, advance: bool) -> list[SharedHessian]:
        """Collect the Hessians of matrices in block ``index``, with the model's present weights.

        A matrix that later blocks share is observed there as well.

        Args:
            index: Which block.
            slots: Matrices of that block.
            advance: Whether to hold the block's outputs.

        Returns:
            One for each input, in the order in which the block reads them; see ``GramMatrices.hessians``.

        Raises:
            PointError: if a matrix was not used and so has no calibration inputs.
        """
        gram, outputs = GramMatrices(), []
        self.replays_exactly(index)  # tried here, where its products are not watched
        with WatchedProducts(WeightSpace(tuple(slots)).weights(self._model), gram.observe):
            for call in self.calls(index):
                gram.end_window()
                outputs.append(call.output if advance else None)
        if advance:
            self.hold(outputs)
        return gram.hessians(slots)


def _last_uses(blocks: Sequence[nn.Module]) -> list[int]:
    """Return for each block the last one that shares a matrix with it; itself where blocks share nothing."""
    owned = [{id(p) for p in block.parameters() if p.ndim > 1} for block in blocks]
    return [
        max(later for later in range(index, len(blocks)) if later == index or owned[index] & owned[later])
        for index in range(len(blocks))
    ]


def walk(model: nn.Module, space: WeightSpace, windows: Tensor) -> Iterator[SharedHessian]:
    """Collect the Hessians of all matrices, block after block, on inputs from the model's own weights.

    The model is read, never written; it is in eval mode until the walk ends. Errors are those of
    ``BlockStream.hessians``.

    Args:
        model: A transformers causal LM.
        space: Its weight space.
        windows: (n, L) token ids.
    """
    with _evaluating(model), full_float32():
        stream = BlockStream(model, windows)
        for index in range(len(stream.blocks)):
            yield from stream.hessians(index, [slot for slot in space if slot.block == index], advance=True)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in eval mode, and every module back in its own mode afterwards."""
    modes = {name: module.training for name, module in model.named_modules()}
    try:
        model.eval()
        yield
    finally:
        for name, module in model.named_modules():
            module.training = modes[name]
