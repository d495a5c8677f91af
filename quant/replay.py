"""Run the model's own forward with its first blocks replayed: they return what they returned before.

The model supplies everything else itself: masks, positions, and other inputs of a block besides the hidden state. The
replay is exact where blocks pass on only their output. Where they share more (keys and values, as in Gemma 3n), it is
not exact, and ``replays_exactly`` finds out by trying.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from quant.architecture import input_device

_TRIED = 16  # tokens of the trial of a replay: their number does not change what blocks share


@dataclass(frozen=True)
class Call:
    """One call of a block: its arguments and its output."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    """The hidden state, (1, L, d), or a tuple that begins with it."""


class _BlockReached(Exception):  # noqa: N818 - a signal, not an error
    """The forward pass has reached the end of the last block needed."""


def copied(output: Any) -> Any:
    """Return a block's output with a copy of its hidden state, in case the model changes it in place."""
    if isinstance(output, Tensor):
        return output.clone()
    state, *others = output  # older blocks return a tuple
    return (state.clone(), *others)


def hidden_state(output: Any) -> Tensor:
    """Return the hidden state, (1, L, d), of a block's output, a tensor or a tuple that begins with it."""
    return output if isinstance(output, Tensor) else output[0]


@contextmanager
def replaced_forward(modules: Sequence[nn.Module], output: Callable[[], Any]) -> Iterator[None]:
    """Let these modules return a new value of ``output()`` at every call, whatever their input."""

    def replace(*args: object, **kwargs: object) -> Any:
        return output()

    own = [vars(module).get("forward") for module in modules]  # accelerate's hooks stand there too
    try:
        for module in modules:
            vars(module)["forward"] = replace
        yield
    finally:
        for module, forward in zip(modules, own, strict=True):
            if forward is None:
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = forward


@contextmanager
def replayed(blocks: Sequence[nn.Module], output: Any) -> Iterator[None]:
    """Let these blocks return a known output, whatever their input.

    One copy serves all but the last: the next block, replayed too, does not look at it.
    """
    passed = copied(output)
    with replaced_forward(blocks[:-1], lambda: passed), replaced_forward(blocks[-1:], lambda: copied(output)):
        yield


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
        before: The output of block ``index − 1``: the blocks before ``index`` are then replayed. None to run them.
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
            model(input_ids=ids.to(input_device(model))[None], use_cache=False)
    return Call(*given[0], outputs[0])


@torch.no_grad()
def replays_exactly(model: nn.Module, ids: Tensor, blocks: Sequence[nn.Module], index: int, last: int) -> bool | None:
    """Return whether blocks ``index`` to ``last`` compute the same, to the bit, with the blocks before them replayed.

    The arguments are those of ``run_through``. With weights that give no finite numbers nothing can be seen: None.
    """
    ids = ids[:_TRIED]
    if index == 0:
        return True
    before = run_through(model, ids, blocks, index - 1, index - 1).output
    whole = run_through(model, ids, blocks, last, last).output
    try:
        with replayed(blocks[:index], before):
            again = run_through(model, ids, blocks, last, last).output
    except Exception:  # a block may miss anything that a replayed one would have left
        return False
    if not bool(hidden_state(whole).isfinite().all()):
        return None
    return torch.equal(hidden_state(again), hidden_state(whole))
