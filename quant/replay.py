"""The model's own forward with its first blocks replayed: the blocks before a cut return what they returned before.

The model supplies everything else itself: masks, positions, and what a block reads beside the hidden state. That is
exact where blocks hand on nothing but their output. Where they share more (keys and values, as in Gemma 3n), it is not,
and ``replays_exactly`` finds out by trying.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_TRIED = 16  # tokens that a replay is tried on: what blocks share does not depend on how many there are


@dataclass(frozen=True)
class Call:
    """One call of a block: what it was given and what it returned."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    """The hidden state, (1, L, d), or a tuple that begins with it."""


class _BlockReached(Exception):  # noqa: N818 - a signal, not an error
    """The forward pass has come through the last block that is of interest."""


def copied(output: Any) -> Any:
    """Return a block's output with a hidden state of its own, in case the model changes it in place."""
    if isinstance(output, Tensor):
        return output.clone()
    state, *others = output  # blocks of older style return a tuple
    return (state.clone(), *others)


def hidden_state(output: Any) -> Tensor:
    """Return the hidden state, (1, L, d), of a block's output; of a tensor, ``[0]`` would be a sample of the batch."""
    return output if isinstance(output, Tensor) else output[0]


@contextmanager
def replayed(blocks: Sequence[nn.Module], output: Any) -> Iterator[None]:
    """Let these blocks return what is known already, whatever comes in."""

    def replay(*args: object, **kwargs: object) -> Any:
        return copied(output)

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


def run_through(
    model: nn.Module, ids: Tensor, blocks: Sequence[nn.Module], index: int, last: int, before: Any = None
) -> Call:
    """Run the model on one window until block ``last`` has returned.

    Args:
        model: A transformers causal LM.
        ids: (L,) token ids.
        blocks: Its decoder blocks.
        index: The block whose call is returned.
        last: The block after which the pass stops, ``index`` or a later one.
        before: What block ``index − 1`` returns: the blocks before ``index`` are then replayed. None to run them.
    """
    given: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    outputs: list[Any] = []

    def enter(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given.append((args, kwargs))

    def leave(block: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        outputs.append(copied(output))

    def stop(block: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        raise _BlockReached

    with ExitStack() as stack:
        if before is not None:
            stack.enter_context(replayed(blocks[:index], before))
        stack.callback(blocks[index].register_forward_pre_hook(enter, with_kwargs=True).remove)
        stack.callback(blocks[index].register_forward_hook(leave).remove)
        stack.callback(blocks[last].register_forward_hook(stop).remove)
        with suppress(_BlockReached):
            model(input_ids=ids.to(next(model.parameters()).device)[None], use_cache=False)
    return Call(*given[0], outputs[0])


@torch.no_grad()
def replays_exactly(model: nn.Module, ids: Tensor, blocks: Sequence[nn.Module], index: int, last: int) -> bool:
    """Whether blocks ``index`` to ``last`` compute the same, to the bit, when the blocks before them are replayed.

    Args: as of ``run_through``.
    """
    ids = ids[:_TRIED]
    if index == 0:
        return True
    before = run_through(model, ids, blocks, index - 1, index - 1).output
    whole = run_through(model, ids, blocks, last, last).output
    try:
        with replayed(blocks[:index], before):
            again = run_through(model, ids, blocks, last, last).output
    except Exception:  # whatever a block misses of what an earlier one would have left: the whole forward has it
        return False
    return torch.allclose(hidden_state(again), hidden_state(whole), rtol=0, atol=0, equal_nan=True)
