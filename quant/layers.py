"""The decoder stack, one block at a time: the inputs of its matrices and their Hessians.

Only the hidden states of all windows, between two blocks, and the Hessians of one block are ever held. One window is
one forward pass, as in ``quant.nll``, so that nothing depends on how windows were batched.

The Hessian of a matrix W (out, in) that reads x over n tokens is ``H = 2/n Σ x xᵀ``, that of its squared output error
per token, for each row of W.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from quant.architecture import decoder_blocks
from quant.errors import CheckpointError, PointError, UsageError
from quant.numerics import full_float32
from quant.space import Slot, WeightSpace

_Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class SharedHessian:
    """The Hessian of matrices that read the same input, as query, key and value do."""

    slots: tuple[Slot, ...]
    """The matrices, in flat order."""
    hessian: Tensor
    """2/n Σ x xᵀ, (in, in), in float32 or better."""


class BlockStream:
    """The hidden states of all windows on their way through the stack.

    Attributes:
        blocks: The decoder blocks.
        states: The inputs of the next block, one (1, L, d) per window; replaced by ``advance``.
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module, windows: Tensor) -> None:
        """Run every window up to the first block.

        Args:
            model: A transformers causal LM, in eval mode.
            windows: (n, L) token ids.

        Raises:
            UsageError: if there are no windows.
        """
        if windows.ndim != 2 or windows.numel() == 0:
            raise UsageError(f"expected token windows of shape (n, L), got {tuple(windows.shape)}")
        self._model = model
        self.blocks = list(decoder_blocks(model)[1])
        # Masks and positions depend on L alone (windows have no padding), but may differ between blocks, as where
        # full and sliding attention alternate: one pass over the first window records each block's own.
        self._arguments = [(args[1:], kwargs) for args, kwargs in _calls(model, windows[0], self.blocks)]
        self.states = [_hidden_state(_calls(model, window, self.blocks[:1])[0]) for window in windows]

    @torch.no_grad()
    def outputs(self, index: int) -> Iterator[Tensor]:
        """The outputs of block ``index`` on ``states``, (1, L, d) each, one window after the other."""
        args, kwargs = self._arguments[index]
        for state in self.states:
            output = self.blocks[index](state, *args, **kwargs)
            # transformers 5 returns a tensor, whose [0] would be a sample; blocks of older style return a tuple
            yield output if isinstance(output, Tensor) else output[0]

    def advance(self, index: int) -> None:
        """Replace ``states`` by the outputs of block ``index``."""
        for position, output in enumerate(self.outputs(index)):
            self.states[position] = output

    def hessians(self, index: int, slots: Sequence[Slot], *, advance: bool) -> list[SharedHessian]:
        """The Hessians of matrices in block ``index`` on the present ``states``, with the block's present weights.

        Args:
            index: Which block.
            slots: Matrices of that block.
            advance: Whether to replace ``states`` by the block's outputs.

        Returns:
            One for each input, in the order in which the block reads them.

        Raises:
            PointError: if a matrix was not used, so that there is nothing to calibrate it on.
        """
        gram = _GramMatrices()
        handles = [self.blocks[index].register_forward_pre_hook(gram.start_window)]
        try:
            for slot in slots:
                module = self._model.get_submodule(slot.name.removesuffix(".weight"))
                handles.append(module.register_forward_pre_hook(partial(gram.observe, slot)))
            if advance:
                self.advance(index)
            else:
                for _ in self.outputs(index):
                    pass
        finally:
            for handle in handles:
                handle.remove()
        return gram.hessians(slots)


class _GramMatrices:
    """Σ x xᵀ of every distinct input tensor in a block, and which matrices read it."""

    def __init__(self) -> None:
        self._inputs: list[tuple[Tensor, Slot]] = []  # of the present window, with the first matrix to read each
        self._leader: dict[Slot, Slot] = {}
        self._sums: dict[Slot, Tensor] = {}
        self._tokens: dict[Slot, int] = {}

    def start_window(self, *_: object) -> None:
        self._inputs.clear()

    def observe(self, slot: Slot, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        (x,) = args
        for other, leader in self._inputs:
            if other is x:
                self._leader[slot] = leader
                return
        self._inputs.append((x, slot))
        self._leader[slot] = slot
        flat = x.reshape(-1, x.shape[-1]).to(torch.promote_types(x.dtype, torch.float32))  # (tokens, in)
        if slot not in self._sums:
            self._sums[slot], self._tokens[slot] = flat.new_zeros(flat.shape[1], flat.shape[1]), 0
        self._sums[slot].addmm_(flat.T, flat)
        self._tokens[slot] += len(flat)

    def hessians(self, slots: Sequence[Slot]) -> list[SharedHessian]:
        self._inputs.clear()
        for slot in slots:
            if slot not in self._leader:
                raise PointError(f"expected calibration tokens to reach {slot.name}, none did; add windows")
        return [
            SharedHessian(
                tuple(slot for slot in slots if self._leader[slot] == leader),
                self._sums.pop(leader).mul_(2 / self._tokens[leader]),
            )
            for leader in dict.fromkeys(self._leader.values())
        ]


def walk(model: nn.Module, space: WeightSpace, windows: Tensor) -> Iterator[SharedHessian]:
    """The Hessians of all matrices, block after block, on the inputs that the model's present weights give them.

    The model is read, never written; it is in eval mode until the walk ends.

    Args:
        model: A transformers causal LM.
        space: Its weight space.
        windows: (n, L) token ids.

    Raises:
        UsageError: if ``windows`` are not (n, L).
        PointError: if a matrix is not used.
    """
    with _evaluating(model), full_float32():
        stream = BlockStream(model, windows)
        for index in range(len(stream.blocks)):
            yield from stream.hessians(index, [slot for slot in space if slot.block == index], advance=True)


class _BlockReached(Exception):  # noqa: N818 - a signal, not an error
    """The forward pass has come to the block it was run for."""


def _calls(model: nn.Module, window: Tensor, blocks: Sequence[nn.Module]) -> list[_Call]:
    """The arguments with which the model calls each of these blocks; its forward stops before the last of them."""
    calls: list[_Call] = []

    def record(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append((args, kwargs))
        if block is blocks[-1]:
            raise _BlockReached

    handles = [block.register_forward_pre_hook(record, with_kwargs=True) for block in blocks]
    try:
        with suppress(_BlockReached):
            model(input_ids=window.to(next(model.parameters()).device)[None], use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _hidden_state(call: _Call) -> Tensor:
    args, _ = call
    if not args or not isinstance(args[0], Tensor):
        raise CheckpointError("expected decoder blocks that take the hidden state as their first positional argument")
    return args[0]


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """The model in eval mode, and every module back in its own mode after."""
    modes = {name: module.training for name, module in model.named_modules()}
    try:
        model.eval()
        yield
    finally:
        for name, module in model.named_modules():
            module.training = modes[name]
