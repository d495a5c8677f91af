"""``landscape radius`` on the built-in model."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape import radius
from landscape.cli import main
from landscape.health.self_checks import SLOPE_WINDOWS
from landscape.positions.directions import Sphere
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.plan import ProbePlan, ProbeResult
from landscape.probing.store import Store
from landscape.radius import RadiusRequest, measure_radius
from landscape.report.radius import radius_lines
from landscape.session import session
from landscape.session.progress import Progress
from landscape.session.request import Request
from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.corpora.corpus import load_corpus
from quant.errors import CheckpointError, UsageError

SMALL = {"seq_len": 32, "precision": 0.15}


def by_hand(lambdas: np.ndarray, directions: int, windows: int, pairs: bool) -> np.ndarray:
    """Mean NLL at w and along each direction, with transformers' own loss."""
    checkpoint = load_checkpoint("opt-nano")
    tokens = load_corpus("tales", checkpoint, 32).windows("validation", windows, 0)
    pristine = {slot: parameter.detach().clone() for slot, parameter in checkpoint.space.weights(checkpoint.model)}

    def mean() -> float:
        with torch.no_grad():
            return float(np.mean([checkpoint.model(input_ids=t[None], labels=t[None]).loss.item() for t in tokens]))

    found = [[mean()] * len(lambdas)]
    for index in range(directions):
        direction = Sphere(checkpoint.space, 0).draw(index)
        row = []
        for lam in lambdas:
            losses = []
            for sign in (1, -1) if pairs else (1,):
                for slot, parameter in checkpoint.space.weights(checkpoint.model):
                    parameter.data.copy_(pristine[slot] + sign * float(lam) * direction.tensor(slot))
                losses.append(mean())
            row.append(np.mean(losses))
        found.append(row)
    return np.array(found)


@pytest.mark.parametrize("pairs", [False, True])
def test_the_losses_are_those_of_the_model_and_r_lies_halfway(tmp_path: Path, pairs: bool) -> None:
    measured = measure_radius(RadiusRequest(**SMALL, pairs=pairs, store=tmp_path))
    probes, found = measured.search.probes, measured.search
    n_d, _, n_w = probes.totals.shape
    center, *rays = by_hand(probes.lambdas, n_d, n_w, pairs)
    assert probes.center_nll == pytest.approx(center[0], abs=1e-5)
    assert probes.totals.sum(2) / probes.tokens.sum() == pytest.approx(np.array(rays), abs=1e-5)
    low, high = (np.mean(rays, axis=0) - center) / (math.log(1024) - center)
    assert low < 0.5 <= high
    straight = probes.lambdas[0] + (0.5 - low) / (high - low) * np.diff(probes.lambdas)[0]
    assert found.radius.value == pytest.approx(straight, rel=0.01)
    assert found.precise
    assert measured.run.probes.evaluated > 0
    assert [check.passed for check in measured.run.health] == [True, True, None, True, True, True, True, True]


def test_a_second_search_evaluates_only_what_is_new(tmp_path: Path) -> None:
    first = measure_radius(RadiusRequest(**SMALL, store=tmp_path))
    again = measure_radius(RadiusRequest(**SMALL, store=tmp_path))
    evaluated = first.run.probes.evaluated
    assert (again.run.probes.evaluated, again.run.probes.cached) == (0, evaluated)
    assert again.search.radius == first.search.radius
    finer = measure_radius(RadiusRequest(seq_len=32, precision=0.08, store=tmp_path))
    assert finer.run.probes.cached == evaluated
    assert finer.run.probes.evaluated > 0
    assert len(finer.search.rounds) > len(first.search.rounds)


def test_on_its_own_text_the_loss_is_flat_at_w(tmp_path: Path) -> None:
    request = RadiusRequest(**SMALL, data="self", store=tmp_path)
    first, again = measure_radius(request), measure_radius(request)
    assert [check.passed for check in first.run.health] == [True] * 8
    assert [check.passed for check in again.run.health] == [None, None, True, None, None, True, None, None]
    assert (again.run.probes.evaluated, again.search.radius) == (0, first.search.radius)


def test_the_slope_at_w_is_told_and_takes_no_window_that_r_did_not(tmp_path: Path) -> None:
    measured = measure_radius(RadiusRequest(**SMALL, store=tmp_path))
    windows, check = measured.search.rounds[-1].windows, measured.run.health[2]
    assert windows < SLOPE_WINDOWS
    known = Store(tmp_path, load_checkpoint("opt-nano").identity, "float32").probes()
    assert len({probe.window for probe in known}) == windows
    lam = 2.0**-6 * measured.subject.norm
    _, *rays = by_hand(np.array([lam, -lam]), 2, windows, pairs=False)
    told = re.findall(r"(\S+) ± (\S+?)[, ]", check.words.replace("−", "-"))
    for (value, half), (plus, minus) in zip(told, rays, strict=True):
        assert float(value) == pytest.approx((plus - minus) / (2 * lam), rel=0.06, abs=1e-6)
        assert math.isfinite(float(half))
    assert (check.passed, check.words.startswith("The slope of the loss at w is ")) == (None, True)
    near = {p.position for p in known if p.position.startswith("ray/") and abs(at(p.position)) <= 1.01 * lam}
    assert sorted(map(at, near)) == [-lam, -lam, lam, lam]
    assert measured.run.probes.evaluated == len(known)
    assert measured.tokens == 32 * len(known)


def at(position: str) -> float:
    """λ of a position on a ray."""
    return float.fromhex(position.rpartition("lam=")[2])


def test_the_smallest_step_is_that_of_the_slope(tmp_path: Path) -> None:
    measured = measure_radius(RadiusRequest(**SMALL, store=tmp_path))
    assert f"at λ = {measured.subject.norm / 64:.3g}" in measured.run.health[4].words


def test_seeds_draw_other_directions_and_windows_and_agree(tmp_path: Path) -> None:
    found = [measure_radius(RadiusRequest(seq_len=64, precision=0.06, seed=s, store=tmp_path)).search for s in (0, 1)]
    assert found[0].probes.center_nll != found[1].probes.center_nll
    a, b = (each.radius for each in found)
    assert a.value != b.value
    # Two intervals of 95 % each: their difference is within the root of the sum of their squares, 95 times in 100.
    assert abs(a.value - b.value) < 2 * math.hypot(a.high - a.value, b.high - b.value)


def test_time_ends_a_search(tmp_path: Path) -> None:
    measured = measure_radius(RadiusRequest(seq_len=32, precision=0.001, minutes=1e-6, store=tmp_path))
    assert (measured.search.precise, measured.search.ended) == (False, "out of time")
    assert len(measured.search.rounds) == 1
    request = RadiusRequest(precision=0.001, minutes=1e-6)
    assert "the requested ± 0.001 R is not reached: --max-minutes ended the search" in "\n".join(
        radius_lines(request, measured)
    )


@pytest.mark.parametrize("pairs", [False, True])
def test_a_search_that_goes_on_has_time_for_what_its_time_allows(
    pairs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is ours: a minute for the model to load, a second for each window that is evaluated."""
    clock = [0.0]
    monkeypatch.setattr(radius.time, "monotonic", lambda: clock[0])

    class Slow(InlineEngine):
        def evaluate(self, plan: ProbePlan) -> Iterator[ProbeResult]:
            for result in super().evaluate(plan):
                clock[0] += 1.0
                yield result

    def late(request: Request, progress: Progress) -> Checkpoint:
        clock[0] += 60.0
        return load_model(request, progress)

    load_model = session.load_model
    monkeypatch.setitem(session.ENGINES, "inline", lambda request, warn: nullcontext(Slow))
    monkeypatch.setattr(session, "load_model", late)
    monkeypatch.setattr(session, "forward_seconds", lambda model, window, batch: 1.0)
    asked = RadiusRequest(**SMALL, pairs=pairs, store=tmp_path)
    measure_radius(asked)
    spent: list[float] = []
    for minutes in (1.5, 10.0):
        clock[0] = 0.0
        more = measure_radius(replace(asked, precision=0.02, minutes=minutes))
        assert not more.search.precise
        spent.append(clock[0])
        assert (more.run.probes.evaluated > 0) == (minutes > 1.5)
    assert 60 <= spent[0] < 90 < spent[1] < 600 + 32  # a few windows more, for the checks at the end


def test_no_basin_is_an_error(tmp_path: Path) -> None:
    checkpoint = load_checkpoint("opt-nano")
    with torch.no_grad():
        checkpoint.model.model.decoder.final_layer_norm.weight.mul_(-40)  # confident, and wrong
    checkpoint.model.save_pretrained(tmp_path / "ruined")
    checkpoint.tokenizer.save_pretrained(tmp_path / "ruined")
    with pytest.raises(CheckpointError, match="expected a model that beats chance"):
        measure_radius(RadiusRequest(str(tmp_path / "ruined"), data="tales", **SMALL, store=tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"precision": 0.0}, "a precision between 0 and 1"), ({"minutes": 0.0}, "more than 0 minutes")],
)
def test_requests_are_checked(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RadiusRequest(**options)


def run(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["landscape", "radius", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    out = capsys.readouterr()
    return int(end.value.code or 0), out.out, out.err


def test_text_and_json_say_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--seq-len", 32, "--precision", 0.15, "--store", tmp_path]
    code, text, _ = run(capsys, monkeypatch, *words)
    assert code == 0
    code, out, _ = run(capsys, monkeypatch, *words, "--json")
    found = json.loads(out)
    assert code == 0
    assert set(found) == {
        "schema_version", "model", "data", "split", "seq_len", "space", "family", "pairs", "center", "chance",
        "radius", "precise", "ended", "rounds", "evaluated", "cached", "tokens", "seconds", "store", "health",
    }  # fmt: skip
    value, low, high = (f"{found['radius'][name]:#.3g}" for name in ("value", "low", "high"))
    assert f"R = {value} [{low}, {high}]" in text
    assert found["tokens"] == (found["evaluated"] + found["cached"]) * 32
    last = found["rounds"][-1]
    articles = len(set(load_corpus("tales", load_checkpoint("opt-nano"), 32).window_articles(
        "validation", last["windows"], 0
    ).tolist()))  # fmt: skip
    assert last["articles"] == articles
    assert f"{last['directions']} directions × {last['windows']} windows in {articles} articles: R" in text
    assert "next   landscape probe --model opt-nano --data tales" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--family", "cube"], "expected sphere, filter or layer:TENSORS as family of directions, got 'cube'"),
        (["--precision", "2"], "expected a precision between 0 and 1, such as 0.05, got 2"),
        (["--split", "dev"], "expected train, validation, test as --split, got 'dev'"),
    ],
)
def test_bad_requests_are_one_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, out, err = run(capsys, monkeypatch, *words, "--store", tmp_path)
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert message in line
