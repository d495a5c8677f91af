"""Run the fine-tuning loop that QAFT and its control ``w_FT`` share (Xu et al. 2024, §3.4).

    float32 master ──weight()──▶ the model's parameter ──forward, backward──▶ gradient ──through weight()──▶ master

Only the matrices of the weight space train. AdamW without weight decay, one window per step, a learning rate that falls
linearly to a tenth. After every epoch the validation NLL is computed, and the best of all rates and epochs is kept, the
untrained start (epoch 0) included.

The NLL on watched windows, those of the test split, may be recorded after every epoch too, for learning curves like the
paper's Figure 5. It is written down and read by nothing: no rate, epoch, step or weight depends on it.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.utils.checkpoint import checkpoint

from quant.architecture import decoder_blocks, input_device
from quant.center import Center, preserved
from quant.errors import CorpusError
from quant.files.hashed_files import write_hashed
from quant.hashing import token_hash
from quant.methods.options import TrainingOptions
from quant.methods.progress import ProgressCallback
from quant.methods.training_state import Layout, kind_of, read_state
from quant.nll import mean_nll, token_nll, window_nll
from quant.space import Slot, Vector, WeightSpace


@dataclass(frozen=True)
class EpochResult:
    """One row of the training curve."""

    rate: float | None
    """Initial learning rate; None at epoch 0, which all rates share."""
    epoch: int
    """Epochs trained."""
    validation_nll: float
    """Nats per token on the validation windows; not finite if the rate diverged."""
    training_nll: float | None = None
    """Mean over the steps of this epoch, each before its update; None at epoch 0."""
    test_nll: float | None = None
    """Nats per token on the watched windows, which choose nothing; None if none are watched."""

    def record(self) -> dict[str, float | int | None]:
        """Return the row as strict JSON, which has no NaN: null stands for a value that is not finite."""
        return {k: v if v is not None and math.isfinite(v) else None for k, v in asdict(self).items()}


@dataclass(frozen=True)
class Trained:
    """The outcome of a run."""

    kept: dict[str, Tensor]
    """``Parametrization.kept`` of the best epoch's masters, by slot name."""
    extra: dict[str, Tensor]
    """The best epoch's ``Parametrization.extra``."""
    chosen: EpochResult
    """The best epoch."""
    curve: tuple[EpochResult, ...]
    """Epoch 0, then every epoch of every rate; a rate ends early if its training loss is not finite."""


class Parametrization(Protocol):
    """Rule by which the weights in the model follow from the float32 masters."""

    @property
    def extra(self) -> Mapping[str, Tensor]:
        """Tensors that train besides the masters, by names of their own: leaves that start each rate at 0."""
        ...

    def weight(self, slot: Slot, master: Tensor) -> Tensor:
        """Return the weights, float32, differentiable in the master."""
        ...

    def kept(self, slot: Slot, master: Tensor) -> Tensor:
        """Return the tensor to remember for these weights, not a view of the master."""
        ...


def learning_rate(initial: float, step: int, steps: int) -> float:
    """Return a rate that falls linearly from ``initial`` at step 0 to a tenth of it at the last of ``steps``."""
    return initial * (1 - 0.9 * step / max(steps - 1, 1))


def window_order(seed: int, epoch: int, count: int) -> list[int]:
    """Draw the order of the windows in an epoch, apart from any global random state."""
    philox = np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64))
    return [int(i) for i in np.random.Generator(philox).permutation(count)]


def check_windows(name: str, windows: Tensor) -> None:
    """Refuse windows that are not a non-empty (count, L ≥ 2) tensor of token ids.

    Raises:
        CorpusError: if it is not.
    """
    if windows.ndim != 2 or windows.shape[0] < 1 or windows.shape[1] < 2 or windows.is_floating_point():
        raise CorpusError(
            f"expected {name} windows as (count ≥ 1, length ≥ 2) token ids, "
            f"got {tuple(windows.shape)} of {windows.dtype}"
        )


def run_training(
    model: nn.Module,
    space: WeightSpace,
    form: Parametrization,
    train: Tensor,
    validation: Tensor,
    options: TrainingOptions,
    *,
    center: Center | None = None,
    masters: Vector | None = None,
    watched: Tensor | None = None,
    state: Path | None = None,
    progress: ProgressCallback | None = None,
) -> Trained:
    """Fine-tune the weight space from ``w`` at every rate and keep the epoch of the lowest validation NLL.

    The model's weights, modes and gradient flags are restored, and no global random state is used.

    Args:
        model: A transformers causal LM.
        space: Its weight space.
        form: Rule by which weights follow from masters.
        train: (n, L) token ids.
        validation: (m, L) token ids.
        options: Rates, epochs, seed.
        center: The pristine copy of ``w``; made here if None.
        masters: Weights at which the masters start; ``w`` if None.
        watched: (k, L) token ids whose NLL is recorded after every epoch and chooses nothing; None to record none.
        state: File for the state after every epoch, from which a run resumes. Its name must contain all that determines
            the run; it is removed at the end. If it is damaged, training starts again, with a warning. Where it was
            written with other watched windows, the epochs that it holds have no NLL on these.
        progress: Called after every step.

    Raises:
        CorpusError: if the windows are not (count, length) token ids.
        StoreError: if ``state`` cannot be written.
    """
    check_windows("training", train)
    check_windows("validation", validation)
    if watched is not None:
        check_windows("watched", watched)
    with preserved(model, space, center) as pristine, torch.enable_grad():
        run = _Run(model, space, form, masters or pristine, train, validation, options, watched)
        if state is None or not state.exists():
            run.evaluate(None, None)
        elif not run.load(state):
            warnings.warn(f"the training state {state} is damaged or of another version; starting again", stacklevel=2)
            run.evaluate(None, None)
        while run.rate_index < len(options.rates):
            run.next_epoch(progress)
            if state is not None:
                run.save(state)
    if state is not None:
        state.unlink(missing_ok=True)  # another process that trained the same point may have ended first
    return Trained(run.best, run.best_extra, run.chosen, tuple(run.curve))


@contextmanager
def checkpointed(model: nn.Module) -> Iterator[None]:
    """Let every decoder block keep its input alone and compute its activations again in the backward pass.

    transformers' own switch works in training mode only, where dropout is on.
    """
    blocks = decoder_blocks(model)[1]
    own = [vars(block).get("forward") for block in blocks]  # None where it is the class's
    try:
        for block in blocks:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
        yield
    finally:
        for block, forward in zip(blocks, own, strict=True):
            del block.forward
            if forward is not None:
                block.forward = forward


class _Run:
    """A run in progress: masters and moments of the present rate, the curve so far, its best epoch."""

    def __init__(
        self,
        model: nn.Module,
        space: WeightSpace,
        form: Parametrization,
        start: Vector,
        train: Tensor,
        validation: Tensor,
        options: TrainingOptions,
        watched: Tensor | None,
    ) -> None:
        self.model, self.form, self.start, self.options = model, form, start, options
        self.space = space
        device = input_device(model)
        self.train, self.validation = train.to(device), validation.to(device)
        self.watched = None if watched is None else watched.to(device)
        self.watched_hash = None if watched is None else token_hash(watched)
        self.curve: list[EpochResult] = []
        self.best: dict[str, Tensor] = {}
        self.best_extra: dict[str, Tensor] = {}
        self.masters = {
            s.name: torch.empty(s.shape, dtype=torch.float32, device=w.device, requires_grad=True)
            for s, w in space.weights(model)
        }
        self.rate_index = 0
        model.requires_grad_(False)
        for parameter in space.parameters(model):
            parameter.requires_grad_(True)
        self._start_rate()

    @property
    def chosen(self) -> EpochResult:
        """Row of the lowest finite validation NLL; the earliest of equals, and epoch 0 if none is finite."""
        return min(self.curve, key=lambda row: row.validation_nll if math.isfinite(row.validation_nll) else math.inf)

    @property
    def trained(self) -> list[Tensor]:
        """All leaves that the optimizer moves."""
        return [*self.masters.values(), *self.form.extra.values()]

    def _start_rate(self) -> None:
        """Put the masters back at the start, in float32 in any model: a bfloat16 step of 1e-6 would vanish."""
        self.epoch = 0
        with torch.no_grad():
            for slot in self.space:
                self.masters[slot.name].copy_(self.start.tensor(slot))
            for tensor in self.form.extra.values():
                tensor.zero_()
        # Fused is one pass over weight, gradient and moments: on a CPU 5 to 10 times as fast as foreach.
        self.optimizer = torch.optim.AdamW(self.trained, lr=0.0, weight_decay=0.0, fused=True)

    def next_epoch(self, progress: ProgressCallback | None) -> None:
        """Train one epoch of the present rate, evaluate it, and move to the next rate where this one has ended."""
        rate, count = self.options.rates[self.rate_index], len(self.train)
        of_rate = self.options.epochs * count
        losses: list[float] = []
        for index in window_order(self.options.seed, self.epoch, count):
            step = self.epoch * count + len(losses)
            losses.append(self._step(self.train[index], learning_rate(rate, step, of_rate)))
            if progress is not None:
                progress(self.rate_index * of_rate + step + 1, len(self.options.rates) * of_rate)
        self.epoch += 1
        training_nll = math.fsum(losses) / count
        self.evaluate(rate, training_nll)
        if self.epoch == self.options.epochs or not math.isfinite(training_nll):
            self.rate_index += 1
            self._start_rate()

    def _step(self, window: Tensor, rate: float) -> float:
        """Update from one window of shape (L,); return its NLL in nats per token before the update."""
        edges = [get_gradient_edge(weight) for weight in self._write()]
        with checkpointed(self.model) if self.options.checkpointing else nullcontext():
            loss = token_nll(self.model, window[None]).mean()
            loss.backward()  # type: ignore[no-untyped-call]
        # The weights' graph is apart from the model's, so that any model, checkpointed or not, sees plain parameters.
        # ``grad`` passes on the model's own gradient where the estimator is the identity; ``backward`` would copy it.
        upstream = [gradient.float() for _, gradient in self.space.slices(self.model, lambda p: p.grad)]
        for tensor, gradient in zip(self.trained, torch.autograd.grad(edges, self.trained, upstream), strict=True):
            tensor.grad = gradient
        for parameter in self.space.parameters(self.model):
            parameter.grad = None
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def _write(self) -> Iterator[Tensor]:
        """Put the weights into the model, rounded to its dtype, and yield each with its graph."""
        for slot, own in self.space.weights(self.model):
            weight = self.form.weight(slot, self.masters[slot.name])
            own.copy_(weight.detach())
            yield weight

    def evaluate(self, rate: float | None, training_nll: float | None) -> None:
        """Add the present weights to the curve, and keep them if they are the best so far."""
        for _ in self._write():
            pass
        test_nll = None if self.watched is None else self._nll(self.watched)
        self.curve.append(EpochResult(rate, self.epoch, self._nll(self.validation), training_nll, test_nll))
        if self.chosen is self.curve[-1]:
            self.best = {s.name: self.form.kept(s, self.masters[s.name].detach()) for s in self.space}
            self.best_extra = {name: tensor.detach().clone() for name, tensor in self.form.extra.items()}

    def _nll(self, windows: Tensor) -> float:
        return mean_nll([window_nll(self.model, window) for window in windows])

    def save(self, path: Path) -> None:
        """Save all that a later process needs in one file, which is either the old or the new one."""
        tensors = {f"best/{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"best-extra/{name}": tensor for name, tensor in self.best_extra.items()}
        if self.epoch > 0:
            tensors |= {f"master/{name}": tensor.detach() for name, tensor in self.masters.items()}
            tensors |= {f"extra/{name}": tensor.detach() for name, tensor in self.form.extra.items()}
            for index, moments in self.optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer/{index}/{key}": tensor for key, tensor in moments.items()}
        rows = [asdict(row) for row in self.curve]
        place = {"rate_index": self.rate_index, "epoch": self.epoch}
        write_hashed(path, tensors, {"run": json.dumps({**place, "watched": self.watched_hash, "curve": rows})})

    def load(self, path: Path) -> bool:
        """Continue from the state of ``save``; return False, and change nothing, if the file is not intact."""
        state = read_state(path, self._layout, len(self.options.rates), self.options.epochs)
        if state is None:
            return False
        self.rate_index, self.epoch = state.rate_index, state.epoch
        rows = [EpochResult(**row) for row in state.curve]
        self.curve = rows if state.watched == self.watched_hash else [replace(row, test_nll=None) for row in rows]
        parts, extra = state.parts, self.form.extra
        self.best = {name: tensor.to(self.masters[name].device) for name, tensor in parts["best"].items()}
        self.best_extra = {name: tensor.to(extra[name].device) for name, tensor in parts.get("best-extra", {}).items()}
        for kind, own in (("master", self.masters), ("extra", extra)):
            for name, tensor in parts.get(kind, {}).items():
                own[name].data.copy_(tensor)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts.get("optimizer", {}).items():
            index, _, quantity = name.partition("/")
            moments.setdefault(int(index), {})[quantity] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        return True

    def _layout(self, begun: bool) -> Layout:
        """Return the tensors of ``save``, after an epoch of a rate or before the first."""
        slot = next(iter(self.space))
        kept = self.form.kept(slot, self.masters[slot.name].detach()).dtype
        tensors = {f"best/{name}": (tuple(master.shape), kept) for name, master in self.masters.items()}
        tensors |= {f"best-extra/{name}": kind_of(tensor) for name, tensor in self.form.extra.items()}
        if begun:
            tensors |= {f"master/{name}": kind_of(tensor) for name, tensor in self.masters.items()}
            tensors |= {f"extra/{name}": kind_of(tensor) for name, tensor in self.form.extra.items()}
            for index, tensor in enumerate(self.trained):
                tensors |= {f"optimizer/{index}/{moment}": kind_of(tensor) for moment in ("exp_avg", "exp_avg_sq")}
                tensors[f"optimizer/{index}/step"] = (), torch.float32
        return tensors
