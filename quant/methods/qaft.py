"""Fine-tune with quantization in the loop, and as a control without it (Xu et al. 2024, §3.4).

Appendix B of the paper: one epoch already does better than GPTQ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quant.center import Center
from quant.errors import PointError, UsageError
from quant.grid import Grid, GridTensor, fake_quantize, learned_fake_quantize
from quant.hashing import token_record
from quant.identity import fingerprint
from quant.methods.options import TrainingOptions
from quant.methods.progress import ProgressCallback
from quant.methods.training import Parametrization, Trained, run_training
from quant.point import WeightPoint
from quant.space import Slot, Vector, WeightSpace
from quant.versions import library_versions


def qaft(
    model: nn.Module,
    space: WeightSpace,
    start: WeightPoint,
    train: Tensor,
    validation: Tensor,
    options: TrainingOptions,
    *,
    center: Center | None = None,
    watched: Tensor | None = None,
    folder: Path | None = None,
    progress: ProgressCallback | None = None,
) -> WeightPoint:
    """Fine-tune with quantization in the forward pass, on the grid that RTN found.

    Float32 masters start at ``w``; the model computes with ``Q(master)``, whose gradient passes straight through to the
    master; the scales stay those of the start, unless ``options.learn_scale``. Epoch 0 is the start itself, so that the
    result is never worse on the validation windows.

    From a GPTQ point the masters start at its weights, in the middle of their grid cells. Whether QAFT then arrives at
    the same result as from RTN tests the claim about basins directly.

    Args:
        model: A transformers causal LM at ``w``; it is restored afterwards.
        space: Its weight space.
        start: ``w_RTN``, or another point on a grid such as ``w_GPTQ``. Its scales are used.
        train: (n, L) token ids; one window is one step.
        validation: (m, L) token ids, which choose rate and epoch.
        options: Rates, epochs, estimator, seed.
        center: The pristine copy of ``w``; made here if None.
        watched: (k, L) token ids of the test split: their NLL is recorded after every epoch, for the learning curve,
            and chooses nothing. The point is the same to the bit whatever they are; None to record none.
        folder: Folder for the state of an interrupted run: a call with the same inputs continues from the last finished
            epoch, to the identical result. The state is removed when the run ends, so store the point.
        progress: Called after every step with the steps done and the steps in all; it jumps where a rate is dropped.

    Returns:
        Method ``qaft``, ``qaft-lsq`` with learned scales, ``qaft-from-gptq``. The provenance holds ``options``, the
        ``data``'s hashes, the ``versions``, the ``curve`` (per rate and epoch the validation NLL, the mean training NLL
        while it was trained, and the NLL on the watched windows; null if not finite) and the ``chosen`` row; the
        ``watched`` windows' hash is beside the ``data``, which made the point.

    Raises:
        PointError: if ``start`` is on no grid, or is named RTN but is not RTN of this ``w``.
        UsageError: if scales are to be learned that the float format of ``start`` cannot store.
        CorpusError: if the windows are not (count, length) token ids.
        StoreError: if the state in ``folder`` cannot be written.
    """
    center = center or Center.of(model, space)
    if start.scheme is None:
        raise PointError(f"expected QAFT to start from a point on a grid, got {start.name}; make it with quant.rtn")
    form = start.scheme.float_format
    if options.learn_scale and form is not None and form.scale != "float":
        raise UsageError(
            f"expected an integer grid or fp8 with learned scales, got {start.scheme}, whose scales are {form.scale} "
            "numbers, which no gradient step reaches; use qaft with fixed scales"
        )
    on_grid = _OnGrid(_grids(space, start, center), options)
    kind = "qaft-lsq" if options.learn_scale else "qaft"
    method, masters = (kind, center) if start.method == "rtn" else (f"{kind}-from-{start.method}", start)
    inputs = {
        "method": method,
        "scheme": str(start.scheme),
        "options": asdict(options),
        "start": start.fingerprint(space),
    }
    data = _Data(train, validation, watched)
    result, record = _run(model, space, on_grid, data, options, inputs, center, masters, folder, progress)
    parts = {name: GridTensor(codes, on_grid.grid(name, result.extra)) for name, codes in result.kept.items()}
    return WeightPoint(method, start.scheme, parts, record)


def finetune(
    model: nn.Module,
    space: WeightSpace,
    train: Tensor,
    validation: Tensor,
    options: TrainingOptions,
    *,
    center: Center | None = None,
    watched: Tensor | None = None,
    folder: Path | None = None,
    progress: ProgressCallback | None = None,
) -> WeightPoint:
    """Fine-tune as a control that the paper lacks: the data, order, steps and rates of ``qaft``, nothing quantized.

    Part of QAFT's gain on a corpus is plain adaptation to it; this point ``w_FT`` shows how much. ``options.ste`` and
    ``learn_scale`` do not apply. Arguments, provenance and errors are those of ``qaft``.

    Returns:
        Method ``w_ft``: float32 masters, on no grid.
    """
    center = center or Center.of(model, space)
    inputs: dict[str, Any] = {"method": "w_ft", "options": asdict(options)}
    for of_grids in ("ste", "learn_scale"):
        del inputs["options"][of_grids]
    data = _Data(train, validation, watched)
    result, record = _run(model, space, _Free(), data, options, inputs, center, center, folder, progress)
    return WeightPoint("w_ft", None, result.kept, record)


@dataclass(frozen=True, eq=False)
class _Data:
    """The windows of a run."""

    train: Tensor
    validation: Tensor
    watched: Tensor | None

    @property
    def inputs(self) -> dict[str, Any]:
        """Record of the windows that determine the point."""
        return {"train": token_record(self.train), "validation": token_record(self.validation)}

    @property
    def watched_record(self) -> dict[str, Any]:
        """Record of the windows whose NLL is written down; no part of what determines the point."""
        return {} if self.watched is None else {"watched": token_record(self.watched)}


class _OnGrid:
    """QAFT: the model computes with the nearest points of a grid, whose scales are fixed or learned."""

    def __init__(self, grids: Mapping[str, Grid], options: TrainingOptions) -> None:
        self._grids, self._ste = grids, options.ste
        self.extra: dict[str, Tensor] = {}
        """Logarithms of the scales over those of the start."""
        if options.learn_scale:
            self.extra = {name: torch.zeros_like(grid.scale).requires_grad_() for name, grid in grids.items()}

    def weight(self, slot: Slot, master: Tensor) -> Tensor:
        grid = self._grids[slot.name]
        if slot.name in self.extra:
            return learned_fake_quantize(master, self.extra[slot.name], grid, self._ste)
        return fake_quantize(master, grid, self._ste)

    def kept(self, slot: Slot, master: Tensor) -> Tensor:
        return self.grid(slot.name, self.extra).quantize(master).codes

    def grid(self, name: str, extra: Mapping[str, Tensor]) -> Grid:
        """Return the grid of a matrix with its learned scales."""
        grid = self._grids[name]
        return grid.with_scale(grid.scale * extra[name].detach().exp()) if name in extra else grid


@dataclass(frozen=True)
class _Free:
    """Plain fine-tuning: the model computes with the masters."""

    extra: Mapping[str, Tensor] = field(default_factory=dict)

    def weight(self, slot: Slot, master: Tensor) -> Tensor:
        return master

    def kept(self, slot: Slot, master: Tensor) -> Tensor:
        return master.clone()


def _grids(space: WeightSpace, start: WeightPoint, center: Center) -> dict[str, Grid]:
    """Return the grid of every slot on the model's device, and check that a start called RTN is ``Q(w)``."""
    grids: dict[str, Grid] = {}
    for slot in space:
        weight = center.tensor(slot)
        part = start.grid_tensor(slot).to(weight.device)
        if start.method == "rtn" and not torch.equal(part.grid.quantize(weight).codes, part.codes):
            raise PointError(f"expected {start.name} to be this model's weights rounded, but {slot.name} differs")
        grids[slot.name] = part.grid
    return grids


def _run(
    model: nn.Module,
    space: WeightSpace,
    form: Parametrization,
    data: _Data,
    options: TrainingOptions,
    inputs: dict[str, Any],
    center: Center,
    masters: Vector,
    folder: Path | None,
    progress: ProgressCallback | None,
) -> tuple[Trained, dict[str, Any]]:
    """Train, with the state of the run in a file of its own, and make the provenance."""
    inputs["data"] = data.inputs
    state = None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        state = folder / f"{inputs['method']}-{_run_key(model, space, center, inputs)}.safetensors"
    result = run_training(
        model, space, form, data.train, data.validation, options,
        center=center, masters=masters, watched=data.watched, state=state, progress=progress,
    )  # fmt: skip
    curve = [row.record() for row in result.curve]
    # Versions are no input: an interrupted run continues after an upgrade, and the record names the later version.
    made = {"versions": library_versions(), "curve": curve, "chosen": result.chosen.record()}
    return result, {**inputs, **data.watched_record, **made}


def _run_key(model: nn.Module, space: WeightSpace, center: Center, inputs: Mapping[str, Any]) -> str:
    """Hash all that determines a run: the inputs, the weight space, and the function of the model at ``w``."""
    weights = space.assembled(model, {slot: center.tensor(slot) for slot in space})
    record = [json.dumps(inputs, sort_keys=True), space.fingerprint, fingerprint(model, weights)]
    return hashlib.sha256("\n".join(record).encode()).hexdigest()[:32]
