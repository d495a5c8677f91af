"""Measure R with one tool from PyPI, as its documentation has it: ``python peer_radius.py WAY FOLDER`` prints a row.

The script runs in an environment of its own, with torch, transformers and the tool, and imports nothing of this
project: ``python -m benchmarks.speed.peers`` writes the folder (the model, its windows, and which weights move) and
calls it. Every way moves the same matrices and scores the same tokens. A way that works direction by direction goes on
until the naive interval of the mean over its directions, which knows nothing of windows, is as narrow as asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

FEWEST = 4  # directions, as in the first round of `landscape radius`
FARTHEST = 8  # times ‖w‖, as there
QUANTILE = 1.96
Row = dict[str, Any]


class OutOfTimeError(Exception):
    """The time limit has passed."""


class Problem:
    """A model, the weights that move, the windows, and the rise of the loss at R."""

    def __init__(self, folder: Path, precision: float, seconds: float, attention: str) -> None:
        """Load the folder, and count tokens and time from now on."""
        about = json.loads((folder / "problem.json").read_text(encoding="utf-8"))
        self.model = AutoModelForCausalLM.from_pretrained(
            folder / "model", dtype=torch.float32, attn_implementation=attention
        )
        self.model.eval()
        moved = set(about["moved"])
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in moved)
        self.weights = [p for p in self.model.parameters() if p.requires_grad]
        if len(self.weights) != len(moved):
            raise SystemExit(f"expected {len(moved)} matrices to move, found {len(self.weights)}")
        self.windows = torch.from_numpy(np.load(folder / "windows.npy"))
        self.norm = math.sqrt(sum(float(p.detach().double().square().sum()) for p in self.weights))
        self.dimension = sum(p.numel() for p in self.weights)
        self.precision, self.deadline, self.late = precision, math.inf, False
        with torch.no_grad():
            self.center = float(self.loss(self.model))
        self.rise = (about["chance"] - self.center) / 2
        self.tokens, self.deadline = 0, time.perf_counter() + seconds

    tokens = 0
    """Tokens of all windows whose loss was asked for."""

    def loss(self, model: nn.Module, windows: Tensor | None = None) -> Tensor:
        """Return the mean NLL over the scored tokens, in nats."""
        if time.perf_counter() > self.deadline:
            self.late = True
            raise OutOfTimeError
        windows = self.windows if windows is None else windows
        self.tokens += windows.numel()
        logits = model(input_ids=windows, use_cache=False).logits[:, :-1]
        return cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())

    def crossing(self, lambdas: Sequence[float], losses: Sequence[float]) -> float:
        """Return the first λ at which the loss is half of the way to chance, on straight lines; inf if none is."""
        below, before = 0.0, self.center
        for lam, loss in zip(lambdas, losses, strict=True):
            if loss >= self.center + self.rise:
                return below + (lam - below) * (self.center + self.rise - before) / (loss - before)
            below, before = lam, loss
        return math.inf

    def averaged(self, radii: Iterator[float]) -> Row:
        """Take directions until the naive interval of their mean is narrow enough, or the time is up."""
        found: list[float] = []
        with contextlib.suppress(OutOfTimeError):
            for radius in radii:
                found.append(radius)
                if math.isinf(radius) or (len(found) >= FEWEST and self._half_width(found) <= self.precision):
                    break
        if not found:
            raise OutOfTimeError
        if math.isinf(max(found)):  # the level was not reached along some direction
            return {"radius": None, "half_width": None, "directions": len(found)}
        return {"radius": statistics.fmean(found), "half_width": self._half_width(found), "directions": len(found)}

    def quadratic(self, trace: float) -> Row:
        """Return the radius at which the quadratic form of that trace reaches R's level."""
        radius = math.sqrt(2 * self.rise * self.dimension / trace) if trace > 0 else math.inf
        return {"radius": radius, "half_width": None, "trace": trace}

    @staticmethod
    def _half_width(found: Sequence[float]) -> float:
        if len(found) < 2:
            return math.inf
        return QUANTILE * statistics.stdev(found) / math.sqrt(len(found)) / statistics.fmean(found)


def loss_landscapes_line(problem: Problem) -> Row:
    """Walk random lines in steps of ‖w‖/20 (`random_line`), whose directions are drawn from U[0, 1]."""
    import loss_landscapes
    from loss_landscapes.metrics.metric import Metric
    from loss_landscapes.model_interface.model_wrapper import GeneralModelWrapper

    class Loss(Metric):
        def __call__(self, wrapper: Any) -> float:
            return float(problem.loss(wrapper.model))

    def radius(reach: int) -> float:
        """Walk one line to ``reach`` times ‖w‖, in steps of 5 %."""
        wrapper = GeneralModelWrapper(problem.model, [nn.ParameterList(problem.weights)], lambda model, x: model(x))
        steps = 20 * reach
        with torch.no_grad():  # the line ends at ‖w‖/distance
            losses = loss_landscapes.random_line(
                wrapper, Loss(), distance=1 / reach, steps=steps, normalization="model", deepcopy_model=True
            )
        lambdas = [problem.norm * reach * k / steps for k in range(1, steps + 1)]
        return problem.crossing(lambdas, losses.tolist())

    def radii() -> Iterator[float]:
        reach = 1
        while True:
            found = radius(reach)
            if math.isinf(found) and reach < FARTHEST:
                reach *= 2
            else:
                yield found

    return problem.averaged(radii())


def _nngeom(problem: Problem) -> Any:
    import nngeom

    return nngeom.Model(problem.model, loss_fn=lambda model, batch: problem.loss(model, batch))


def nngeom_width(problem: Problem) -> Row:
    """Measure half the width of the basin (`basin_width`), on 81 points up to ±‖w‖ of layer-normalised directions."""
    import nngeom

    def radii() -> Iterator[float]:
        seed = 0
        while True:
            found = nngeom.basin_width(
                _nngeom(problem), problem.windows, threshold=problem.rise, max_span=1.0, steps=81, n_directions=1,
                seed=seed,
            )  # fmt: skip
            yield found["mean_width"] / 2 * problem.norm
            seed += 1

    return problem.averaged(radii())


def nngeom_sharpness(problem: Problem) -> Row:
    """Bisect the radius at which the mean rise over Gaussian directions (`sharpness`) is that of R."""
    import nngeom

    model, samples = _nngeom(problem), FEWEST

    def rise(radius: float) -> tuple[float, float]:
        found = nngeom.sharpness(model, problem.windows, radius=radius, n_samples=samples, seed=0)
        return found["mean_rise"], found["std_rise"]

    low, high = 0.0, 0.05  # the default radius, relative to ‖w‖
    while rise(high)[0] < problem.rise:
        low, high = high, 2 * high
    while high - low > problem.precision * high:
        middle = (low + high) / 2
        low, high = (middle, high) if rise(middle)[0] < problem.rise else (low, middle)
    while True:
        (below, _), (above, spread) = rise(low), rise(high)
        slope = (above - below) / (high - low)
        radius = low + (problem.rise - below) / slope
        half_width = QUANTILE * spread / math.sqrt(samples - 1) / slope / radius
        if half_width <= problem.precision:
            return {"radius": radius * problem.norm, "half_width": half_width, "directions": samples}
        samples *= 2


def nngeom_trace(problem: Problem) -> Row:
    """Estimate the trace of the Hessian with its default of 20 samples (`hutchinson_trace`)."""
    import nngeom

    return problem.quadratic(nngeom.hutchinson_trace(_nngeom(problem), problem.windows, seed=0))


def landscaper_line(problem: Problem) -> Row:
    """Walk lines of 41 points through w (`compute_loss_landscape` in one dimension), their two halves averaged."""
    from landscaper.compute import compute_loss_landscape

    steps, distance = 41, 1.0
    everything = math.sqrt(sum(float(p.detach().double().square().sum()) for p in problem.model.parameters()))
    lambdas = [everything * distance * k / (steps / 2) for k in range(1, steps // 2 + 1)]

    def radii() -> Iterator[float]:
        while True:
            draws = (torch.randn_like(p) for p in problem.model.parameters())
            direction = [d * p.requires_grad for d, p in zip(draws, problem.model.parameters(), strict=True)]
            losses, _ = compute_loss_landscape(
                problem.model, problem.windows, [direction], lambda model, data: float(problem.loss(model, data)),
                steps=steps, distance=distance, dim=1, device="cpu",
            )  # fmt: skip
            half = steps // 2
            sides = losses[half + 1 :].tolist(), losses[:half][::-1].tolist()
            yield statistics.fmean(problem.crossing(lambdas, side) for side in sides)

    return problem.averaged(radii())


def landscaper_trace(problem: Problem) -> Row:
    """Estimate the trace of the Hessian until it changes by less than 0.1 % (`PyHessian.trace` with its defaults)."""
    from landscaper.hessian import PyHessian

    class Named(nn.Module):  # its generator calls `forward` with one argument by position
        def __init__(self) -> None:
            super().__init__()
            self.inner = problem.model

        def forward(self, windows: Tensor) -> Tensor:
            return problem.loss(self.inner, windows)

    data = [(window[None], window[None]) for window in problem.windows]
    found = PyHessian(Named().eval(), lambda output, target: output, data, "cpu").trace()
    return problem.quadratic(float(np.mean(found)))


WAYS: dict[str, tuple[str, Callable[[Problem], Row]]] = {
    "loss-landscapes, random_line": ("loss-landscapes", loss_landscapes_line),
    "nngeom, sharpness bisected": ("nngeom", nngeom_sharpness),
    "nngeom, basin_width": ("nngeom", nngeom_width),
    "nngeom, hutchinson_trace": ("nngeom", nngeom_trace),
    "landscaper, compute_loss_landscape": ("landscaper", landscaper_line),
    "landscaper, PyHessian.trace": ("landscaper", landscaper_trace),
}


def main() -> None:
    """Measure R in one way, and print its row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", type=float, default=0.05)
    parser.add_argument("--minutes", type=float, default=10.0, help="limit (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    package, measure = WAYS[options.way]
    attention = "eager" if "trace" in options.way else "sdpa"  # sdpa has no second derivative
    problem = Problem(options.folder, options.precision, 60 * options.minutes, attention)
    begin, found = time.perf_counter(), {"radius": None, "half_width": None}
    with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(OutOfTimeError):
        found = measure(problem)
    versions = {name: version(name) for name in (package, "torch", "transformers", "numpy")}
    found |= {"center": problem.center, "tokens": problem.tokens, "seconds": time.perf_counter() - begin}
    limits = {"late": problem.late, "minutes": options.minutes, "threads": options.threads}
    versions |= {"python": platform.python_version()}
    print(json.dumps({"way": options.way, **found, **limits, "versions": versions}))


if __name__ == "__main__":
    main()
