"""Check that each check passes on a sound run and fails on the fault that it is for."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from landscape.health import checks as health
from landscape.health.self_checks import SLOPE_RATIO, FinishedRun, examine, slope_at_w, slope_plan
from landscape.positions.atlas import Atlas, Ray
from landscape.positions.directions import Along, Filter, Layers, Sphere
from landscape.positions.position import CENTER, At, OnRay, Position, on_plane, on_segment, with_parts
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.plan import Probe, ProbeResult, Window, identified, point_plan, ray_plan
from landscape.probing.runner import Runner
from landscape.probing.store import Store
from landscape.session.progress import Silent
from landscape.session.run_record import Check
from quant.center import Center
from quant.checkpoints.checkpoint import load_checkpoint
from quant.corpora.corpus import load_corpus
from quant.space import Difference, WeightSpace, norm
from tests import tiny

NAMES = [health.L_AT_W, health.DETERMINISTIC, health.SLOPE, health.ORTHOGONAL, health.RESOLUTION, health.FINITE]
UNJUDGED = Check(health.SLOPE, None, "not of interest here")
NOTHING = Probe("ray/none", "none")


class Run:
    """A small run, done: w and one λ along three directions."""

    def __init__(self, path: Path, model: torch.nn.Module, windows: tuple[Window, ...], lam: float = 1.0) -> None:
        self.model, self.windows, self.lam, self.path = model, windows, lam, path
        self.space = WeightSpace.of(model)
        self.center = Center.of(model, self.space)
        self.family = Sphere(self.space)

    def work(self, provenance: dict | None = None) -> FinishedRun:
        runner = Runner(Store(self.path, "f" * 64, "float32"), provenance or {})
        plan = point_plan([CENTER], self.windows) + ray_plan(self.family, 3, [self.lam], self.windows)
        runner.run(plan, InlineEngine(self.model, self.space, Atlas(self.center, {}, {self.family.name: self.family})))
        return FinishedRun(
            runner, self.model, self.space, self.center, self.family, 3, self.lam, self.windows[0], UNJUDGED
        )


@pytest.fixture
def small(tmp_path: Path) -> Run:
    return Run(tmp_path, tiny.opt(), identified(tiny.windows(2)))


def judged(run: FinishedRun) -> dict[str, Check]:
    found = examine(run)
    assert [check.name for check in found] == NAMES
    return {check.name: check for check in found}


def verdicts(run: FinishedRun) -> list[bool | None]:
    return [check.passed for check in judged(run).values()]


def test_a_sound_run_on_the_built_in_model_passes(tmp_path: Path) -> None:
    checkpoint = load_checkpoint("opt-nano")
    windows = identified(load_corpus("tales", checkpoint, 32).windows("validation", 2, 0))
    assert verdicts(Run(tmp_path, checkpoint.model, windows, lam=20.0).work()) == [True, True, None, True, True, True]


def test_a_run_that_evaluated_nothing_calls_no_model_and_draws_nothing(small: Run, monkeypatch) -> None:
    small.work()
    again = small.work()
    small.model.register_forward_hook(lambda *_: pytest.fail("the model was called"))
    monkeypatch.setattr(Sphere, "part", lambda *_: pytest.fail("a direction was drawn"))
    found = judged(again)
    assert [check.passed for check in found.values()] == [None, None, None, None, None, True]
    assert "Nothing was evaluated" in found[health.L_AT_W].words


@pytest.mark.parametrize("name", ["model.decoder.final_layer_norm.weight", "model.decoder.layers.0.fc1.weight"])
def test_a_weight_that_changed_is_found(small: Run, name: str) -> None:
    done = small.work()
    with torch.no_grad():
        small.model.get_parameter(name).view(-1)[0] += 1e-3
    found = judged(done)
    assert [check.passed for check in found.values()] == [False, True, None, True, True, True]
    assert "changed on the way" in found[health.L_AT_W].words


def test_a_failed_check_is_a_warning(small: Run) -> None:
    progress = Silent()
    done = small.work()
    with torch.no_grad():
        small.model.get_parameter("model.decoder.final_layer_norm.weight")[0] += 1e-3
    checks = examine(done, progress)
    assert progress.warnings == [checks[0].words]


def test_dropout_left_on_is_found(small: Run) -> None:
    done = small.work()
    small.model.train()
    with torch.random.fork_rng():
        found = judged(done)
    assert found[health.DETERMINISTIC].passed is False
    assert "dropout" in found[health.DETERMINISTIC].words


def test_numbers_made_elsewhere_are_named(small: Run) -> None:
    probe = Probe(CENTER, small.windows[0].identity)
    Store(small.path, "f" * 64, "float32").commit([ProbeResult(probe, 40.0, 11)], {"threads": 8, "torch": "1"})
    found = judged(small.work({"threads": 2, "torch": "1"}))[health.L_AT_W]
    assert found.passed is False
    assert "made with threads 8," in found.words
    assert "another --store" in found.words


def test_losses_that_are_not_finite_are_counted_by_place(small: Run) -> None:
    done = small.work()
    position = next(probe.position for probe in done.runner.asked if probe.position.startswith("ray/"))
    for window, value in zip(small.windows, (math.nan, math.inf), strict=True):
        done.runner.known[probe] = ProbeResult(probe := Probe(position, window.identity), value, 11)
    found = judged(done)[health.FINITE]
    assert found.passed is False
    assert found.words.startswith("2 of 8 evaluations (25.0%) gave no finite loss: 2 along random directions.")


@pytest.mark.parametrize(
    ("position", "place"),
    [
        (At(CENTER), "at w"), (OnRay("sphere", 0, 1.0), "along random directions"),
        (on_segment("a", "b", 0.5), "on segments"), (At("point/a"), "at points"),
        (on_plane("a", "b", 0.5, 0.25), "on planes"), (with_parts("a", ["clip"]), "with parts of a Δw"),
    ],
)  # fmt: skip
def test_every_kind_of_position_has_a_name(position: Position, place: str) -> None:
    kind = str(position).partition("/")[0]
    assert f"gave no finite loss: 1 {place}." in health.finite_losses({kind: 4}, {kind: 1}).words


# ---- directions ---------------------------------------------------------------------------------------------------


class Twice(Sphere):
    """The same direction, whatever its number."""

    def key(self, slot, index):
        return super().key(slot, 0)


class LastTwice(Sphere):
    """Only the last two of three are the same."""

    def key(self, slot, index):
        return super().key(slot, min(index, 1))


class Positive(Sphere):
    """Uniform on [0, 1), as in marcellodebernardi/loss-landscapes: every two have a cosine of 3/4."""

    def shaped(self, slot, normals):
        return torch.special.ndtr(normals)


@pytest.mark.parametrize("kind", [Sphere, Filter, Layers, Twice, LastTwice, Positive])
def test_directions_are_compared_with_independent_noise(small: Run, kind: type) -> None:
    more = {Filter: (small.center,), Layers: ("block=1",)}.get(kind, ())
    family = kind(small.space, *more)
    found = judged(replace(small.work(), family=family))[health.ORTHOGONAL]
    flat = [torch.cat([family.draw(i).tensor(s).flatten() for s in small.space]).double().numpy() for i in range(3)]
    cosines = [abs(a @ b) for a, b in ((flat[0], flat[1]), (flat[0], flat[2]), (flat[1], flat[2]))]
    assert found.passed is (kind not in (Twice, LastTwice, Positive))
    assert any(f": |cos| up to {cosine:.2g}, " in found.words for cosine in cosines)
    assert ("do not use R" in found.words) is (not found.passed)


def test_the_scale_of_a_cosine_is_that_of_the_family(small: Run) -> None:
    """Of many pairs: its root mean square is what the check expects of one, also where few coordinates weigh most."""
    done = small.work()
    for family in (Sphere(small.space), Filter(small.space, small.center), Layers(small.space, "block=1")):
        flat = np.stack(
            [np.concatenate([family.draw(i).tensor(s).flatten().numpy() for s in small.space]) for i in range(40)]
        )
        cosines = (flat @ flat.T)[np.triu_indices(40, 1)]
        found = judged(replace(done, family=family))[health.ORTHOGONAL]
        scale = float(found.words.split("5 × ")[1].split()[0])
        assert scale == pytest.approx(math.sqrt(np.mean(cosines**2)), rel=0.15)


def test_one_direction_is_orthogonal_to_nothing(small: Run) -> None:
    assert judged(replace(small.work(), n_directions=1))[health.ORTHOGONAL].passed is None


# ---- float resolution ---------------------------------------------------------------------------------------------


def stretch(center: dict[str, torch.Tensor], run: Run, lam: float, dtype: torch.dtype) -> float:
    """‖fl(w + λê) − w‖/λ, by numpy and torch's own rounding, on the flat vector."""
    e = torch.cat([run.family.draw(0).tensor(s).flatten() for s in run.space]).double()
    w = torch.cat([center[s.name].flatten() for s in run.space]).double()
    return float(np.linalg.norm(((w + lam * e).float().to(dtype).double() - w).numpy())) / lam


@pytest.mark.parametrize(
    ("dtype", "lam", "passed", "remedy"),
    [
        (torch.float32, 0.5, True, ""), (torch.float32, 1e-9, False, "use larger --lambdas"),
        (torch.bfloat16, 0.01, False, "use --dtype float32"), (torch.float16, 2e-4, False, "use --dtype float32"),
        (torch.bfloat16, 5.0, True, ""),
    ],
)  # fmt: skip
def test_a_step_below_the_spacing_of_floats_is_found(
    tmp_path: Path, dtype: torch.dtype, lam: float, passed: bool, remedy: str
) -> None:
    run = Run(tmp_path, tiny.opt().to(dtype), identified(tiny.windows(1)), lam)
    found = judged(run.work())[health.RESOLUTION]
    assert found.passed is passed
    length = stretch(run.center.weights, run, lam, dtype)
    assert float(found.words.split(": a step of ")[1].split()[0]) == pytest.approx(length, rel=1e-5, abs=1e-12)
    assert remedy in found.words
    assert str(dtype).removeprefix("torch.") in found.words


def test_a_step_of_the_right_length_by_chance_is_found(tmp_path: Path) -> None:
    """Between steps that are lost and steps that are rounded up, the length passes through 1."""
    run = Run(tmp_path, tiny.opt().to(torch.bfloat16), identified(tiny.windows(1)))
    low, high = 1e-4, 1e-2
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if stretch(run.center.weights, run, middle, torch.bfloat16) > 1 else (middle, high)
    assert stretch(run.center.weights, run, high, torch.bfloat16) == pytest.approx(1, abs=2e-3)
    found = judged(replace(run.work(), lam=high))[health.RESOLUTION]
    assert found.passed is False
    assert float(found.words.split(" λ, ")[1].split("%")[0]) > 10  # of the step is noise
    assert health.resolution(1.0, 0.4, 1.0, "bfloat16").passed is False
    assert health.resolution(1.0, 0.0, 1.0, "bfloat16").passed is True
    assert health.resolution(0.995, 0.005, 1.0, "bfloat16").passed is False  # little is lost, but all of it lengthwise


# ---- the slope at w -----------------------------------------------------------------------------------------------


def sloped(slopes: np.ndarray, lam: float = 0.5, tokens: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Losses of windows that are parabolas with these slopes at w, (n_d, n_w)."""
    plus, minus = (tokens * (2 + 3 * lam**2 + sign * lam * slopes) for sign in (1, -1))
    return plus, minus, np.full(slopes.shape[1], tokens), lam


def test_the_slope_and_its_interval_are_those_of_the_textbook() -> None:
    slopes = np.array([[0.1, -0.3, 0.2, 0.05, -0.1], [1.0, 1.2, 0.8, 1.1, 0.9]])
    found = health.slope(*sloped(slopes), own_text=True)
    shown = found.words.replace("−", "-").split("its slope is ")[1].split(" nats")[0].split(", ")
    for text, row in zip(shown, slopes, strict=True):
        half = stats.t.ppf(1 - 0.01 / 2 / 2, 4) * row.std(ddof=1) / math.sqrt(5)
        assert text == f"{row.mean():+.2g} ± {half:.2g}"
    assert found.passed is False
    assert health.slope(*sloped(slopes[:1]), own_text=True).passed is True
    other = health.slope(*sloped(slopes), own_text=False)
    assert other.passed is None
    assert "w is no minimum" in other.words
    assert "zero within" in health.slope(*sloped(slopes[:1]), own_text=False).words


def test_chance_fails_a_flat_landscape_as_rarely_as_it_says() -> None:
    rng = np.random.default_rng(0)
    alarms = sum(health.slope(*sloped(rng.standard_normal((2, 4))), own_text=True).passed is False for _ in range(3000))
    assert stats.binomtest(alarms, 3000, health.FALSE_ALARM).pvalue > 1e-3


def test_opposite_slopes_do_not_hide_each_other() -> None:
    """Their mean is zero, as that over random directions is on any text."""
    one = np.random.default_rng(0).normal(1.0, 0.1, (1, 6))
    assert health.slope(*sloped(np.concatenate([one, -one])), own_text=True).passed is False


def test_a_slope_without_a_known_error_is_not_judged() -> None:
    assert health.slope(*sloped(np.ones((2, 1))), own_text=True).passed is None
    plus, *others = sloped(np.ones((2, 3)))
    plus[0, 0] = math.nan
    assert health.slope(plus, *others, own_text=True).passed is False
    assert health.slope(plus, *others, own_text=False).passed is None


@pytest.mark.parametrize("moved", [0.0, 20.0])
def test_the_models_own_text_is_flat_at_w_and_that_of_other_weights_is_not(tmp_path: Path, moved: float) -> None:
    checkpoint = load_checkpoint("opt-nano")
    model, space = checkpoint.model, checkpoint.space
    windows = identified(
        load_corpus("self", checkpoint, 32, sizes={"validation": 8}, cache=tmp_path).windows("validation", 8)
    )
    writer = Center.of(model, space)
    direction = Sphere(space, 5).draw(0)
    space.write(model, Ray(writer, direction, moved))
    center = Center.of(model, space)
    vector = Difference(writer, center) if moved else direction
    family, length = Along(space, vector, "moved"), norm(space, center)
    runner = Runner(Store(tmp_path, "f" * 64, "float32"), {})
    plan = slope_plan(family, 1, length, windows)
    runner.run(plan, InlineEngine(model, space, Atlas(center, {}, {family.name: family})))
    found = slope_at_w(runner, family, 1, length, windows, own_text=True)
    assert found.passed is (moved == 0)
    assert f"±{SLOPE_RATIO * length:.3g}" in found.words
    assert ("written by other weights" in found.words) is (moved > 0)
