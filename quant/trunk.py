"""Split a causal language model into its trunk and what follows it, so that logits can be computed row by row.

The logits of a window are (L, V) numbers, often the largest tensor of a forward pass. They follow from the last hidden
states one row at a time, by the model's own code after its trunk: final projection, head, scaling, soft cap. Here the
trunk runs once, and that code then runs on some rows at a time, with the trunk replaced by their hidden states. So no
family of models needs rules of its own. A trial finds out the models whose code after the trunk mixes rows; these give
all of their logits at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from quant.architecture import decoder_blocks
from quant.errors import CheckpointError
from quant.replay import replaced_forward

_TRIED = 16  # tokens of the trial
_CUT = 5  # rows in its first part
_SPACINGS = 256  # of float32, times the largest logit: the rounding of a matrix product
_HALF_SPACINGS = 4  # of float16 or bfloat16, times the root mean square: single logits are a spacing or two apart


class Split(Protocol):
    """A model in two parts, between which (n, d) rows pass: one for each token."""

    def hidden(self, windows: Tensor) -> Tensor:
        """Run the first part on windows of token ids, (B, L), and return the rows, (B, L, d)."""
        ...

    def logits(self, rows: Tensor, ids: Tensor) -> Tensor:
        """Run the second part on some rows, (n, d), of tokens with these ids, (n,), and return logits, (n, V)."""
        ...

    @property
    def trains(self) -> bool:
        """Return whether a parameter of the second part requires a gradient."""
        ...


@dataclass(frozen=True)
class Trunk:
    """The module of a model that ends with the last hidden states."""

    name: str
    """Name of the module in the model."""
    output: type | int
    """Class of its output, or the length of a tuple; the hidden state comes first."""

    def wrapped(self, state: Tensor) -> Any:
        """Return an output of this kind with a hidden state, (1, n, d), and nothing else."""
        if isinstance(self.output, int):
            return (state, *[None] * (self.output - 1))
        return self.output(last_hidden_state=state)


@dataclass(frozen=True, eq=False)
class AtTrunk:
    """A model split after its trunk."""

    model: nn.Module
    trunk: Trunk

    def hidden(self, windows: Tensor) -> Tensor:
        """Return the last hidden states."""
        state: Tensor = _state(_run_trunk(self.model, self.trunk.name, windows))
        return state

    def logits(self, rows: Tensor, ids: Tensor) -> Tensor:
        """Return the logits that follow from some of them."""
        module = self.model.get_submodule(self.trunk.name)
        with replaced_forward([module], lambda: self.trunk.wrapped(rows[None])):
            logits: Tensor = self.model(input_ids=ids[None], use_cache=False).logits[0]
        return logits

    @property
    def trains(self) -> bool:
        """Return whether a parameter after the trunk requires a gradient; a head tied to the embeddings is one."""
        first = set(self.model.get_submodule(self.trunk.name).parameters())
        second = [parameter for parameter in self.model.parameters() if parameter not in first]
        head = self.model.get_output_embeddings()  # type: ignore[operator]
        return any(parameter.requires_grad for parameter in (*second, *(head.parameters() if head else ())))


@dataclass(frozen=True, eq=False)
class Whole:
    """A model that is not split: its logits stand for the hidden states."""

    model: nn.Module

    def hidden(self, windows: Tensor) -> Tensor:
        """Return all logits: here d is |V|."""
        logits: Tensor = self.model(input_ids=windows, use_cache=False).logits
        return logits

    def logits(self, rows: Tensor, ids: Tensor) -> Tensor:
        """Return the rows, which are the logits."""
        return rows

    @property
    def trains(self) -> bool:
        """Return False: nothing follows the logits."""
        return False


class _UndecidedError(Exception):
    """A trial whose logits are no numbers, such as those of weights far away, shows nothing."""


class _TrunkReturned(Exception):  # noqa: N818 - a signal, not an error
    """The trunk has returned, and the rest of the forward pass is not needed."""


_trunks: WeakKeyDictionary[nn.Module, Trunk | None] = WeakKeyDictionary()
"""The trunk of each model, None if it cannot be split: tried once, since the code decides and not the weights, unless
these give logits that are not numbers."""


def split(model: nn.Module, ids: Tensor) -> Split:
    """Split a model after its trunk, if its logits follow from the last hidden states row by row.

    Args:
        model: A transformers causal LM.
        ids: Some token ids, (L,), for the trial that the first call with a model makes.
    """
    if model not in _trunks:
        with torch.no_grad(), suppress(_UndecidedError):
            _trunks[model] = _find_trunk(model, ids.repeat(_TRIED)[:_TRIED])
    trunk = _trunks.get(model)
    return Whole(model) if trunk is None else AtTrunk(model, trunk)


def _find_trunk(model: nn.Module, ids: Tensor) -> Trunk | None:
    """Return the outermost module around the decoder blocks after which the model can be split."""
    for name in _candidates(model):
        output = _run_trunk(model, name, ids[None])
        state = _state(output)
        if state is not None and state.shape[:2] == (1, len(ids)):
            trunk = Trunk(name, len(output) if isinstance(output, tuple) else type(output))
            if _splits_exactly(AtTrunk(model, trunk), state[0], ids):
                return trunk
    return None


def _candidates(model: nn.Module) -> Iterator[str]:
    """Yield the names of the modules around the decoder blocks, the outermost first."""
    if hasattr(model, "config"):
        with suppress(CheckpointError):  # without one stack of blocks there is no trunk either
            parts = decoder_blocks(model)[0].split(".")[:-1]
            yield from (".".join(parts[: n + 1]) for n in range(len(parts)))


def _splits_exactly(found: AtTrunk, state: Tensor, ids: Tensor) -> bool:
    """Return whether the logits of tokens follow from their hidden states, (L, d), in two parts.

    Raises:
        _UndecidedError: if some are NaN or +∞; words that a model rules out may have −∞.
    """
    whole = Whole(found.model).hidden(ids[None])[0].double()
    if bool((whole.isnan() | whole.isposinf()).any()):
        raise _UndecidedError
    try:
        parts = [found.logits(state[part], ids[part]).double() for part in (slice(_CUT), slice(_CUT, None))]
    except Exception:  # the code after the trunk may need anything that a replaced trunk does not leave
        return False
    if sum(len(part) for part in parts) != len(whole):
        return False
    return _agree(torch.cat(parts), whole, state.dtype)


def _agree(parts: Tensor, whole: Tensor, dtype: torch.dtype) -> bool:
    """Return whether logits of two computations in a dtype are rounded apart, and no further.

    Only logits that differ count, so that the huge ones of words that a model rules out set no scale.
    """
    differ = parts != whole
    if not bool(differ.any()):
        return True
    error, scale, spacing = (parts - whole)[differ].abs(), whole[differ].abs(), torch.finfo(dtype).eps
    if dtype in (torch.float16, torch.bfloat16):
        return bool(error.square().mean().sqrt() <= _HALF_SPACINGS * spacing * scale.square().mean().sqrt())
    return bool(error.max() <= _SPACINGS * spacing * scale.max())


def _run_trunk(model: nn.Module, name: str, windows: Tensor) -> Any:
    """Run a model until the module of this name returns, and return its output; None if it is never called."""
    outputs: list[Any] = []

    def stop(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        outputs.append(output)
        raise _TrunkReturned

    handle = model.get_submodule(name).register_forward_hook(stop)
    try:
        with suppress(_TrunkReturned):
            model(input_ids=windows, use_cache=False)
    finally:
        handle.remove()
    return outputs[0] if outputs else None


def _state(output: Any) -> Any:
    """Return the hidden state of a trunk's output; None if it has none."""
    return output[0] if isinstance(output, tuple) else getattr(output, "last_hidden_state", None)
