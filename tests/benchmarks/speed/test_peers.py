"""R around another tool: crossings, intervals of means, quadratic radii, and the matrices that move."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.speed import peer_radius
from benchmarks.speed.models import random_llama, random_tokens
from benchmarks.speed.peer_radius import OutOfTimeError, Problem
from benchmarks.speed.peers import moved
from quant.space import WeightSpace


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peers")
    model = random_llama(vocabulary=97, blocks=1, width=48, inner=64, heads=3, groups=1)
    model.save_pretrained(folder / "model")
    np.save(folder / "windows.npy", random_tokens(2, 16, 97).numpy())
    about = {"moved": moved(model, WeightSpace.of(model)), "chance": math.log(97) + 2}
    (folder / "problem.json").write_text(json.dumps(about))
    return folder


@pytest.fixture
def problem(folder: Path) -> Problem:
    return Problem(folder, 0.05, 60.0, "eager")


def test_the_matrices_of_w_move_and_every_token_is_counted(problem: Problem) -> None:
    space = WeightSpace.of(problem.model)
    assert problem.dimension == space.dimension
    expected = problem.model(input_ids=problem.windows, labels=problem.windows).loss.detach()
    assert problem.center == pytest.approx(float(expected), rel=1e-6)
    assert problem.rise == pytest.approx((math.log(97) + 2 - problem.center) / 2)
    assert problem.tokens == 0
    problem.loss(problem.model)
    problem.loss(problem.model, problem.windows[:1])
    assert problem.tokens == 3 * 16


def test_a_crossing_lies_on_the_straight_line_to_the_first_loss_above(problem: Problem) -> None:
    losses = [problem.center + problem.rise * share for share in (0.5, 1.5, 0.2)]
    assert problem.crossing([1.0, 2.0, 3.0], losses) == pytest.approx(1.5)
    assert problem.crossing([1.0], losses[:1]) == math.inf


def test_a_mean_takes_directions_until_its_interval_is_narrow(problem: Problem) -> None:
    """1.96 · s / √n / mean: 4 directions of ± 10 % give 11 %, 16 give 5.06 %, 17 fewer than 5 %."""
    found = problem.averaged(iter([9.0, 11.0] * 20))
    n, values = found["directions"], ([9.0, 11.0] * 20)[: found["directions"]]
    width = 1.96 * np.std(values, ddof=1) / math.sqrt(n) / np.mean(values)
    assert found == {"radius": pytest.approx(np.mean(values)), "half_width": pytest.approx(width), "directions": n}
    assert width <= 0.05 < 1.96 * np.std(values[:-1], ddof=1) / math.sqrt(n - 1) / np.mean(values[:-1])
    assert problem.averaged(iter([10.0] * 9))["directions"] == peer_radius.FEWEST
    assert problem.averaged(iter([10.0, math.inf]))["radius"] is None


def test_the_time_limit_ends_a_mean(problem: Problem) -> None:
    problem.deadline = 0.0

    def radii(first: list[float]):
        yield from first
        problem.loss(problem.model)

    found = problem.averaged(radii([9.0, 11.0]))
    assert (found["radius"], problem.late) == (10.0, True)
    with pytest.raises(OutOfTimeError):
        problem.averaged(radii([]))


def test_the_quadratic_radius_is_where_the_quadratic_form_reaches_the_level(problem: Problem) -> None:
    """On average ⟨ê, Hê⟩ = Tr H / D, so that ½ R² Tr H / D is the rise."""
    found = problem.quadratic(3.0)
    assert 0.5 * found["radius"] ** 2 * 3.0 / problem.dimension == pytest.approx(problem.rise)
    assert problem.quadratic(-1.0)["radius"] == math.inf


def test_a_matrix_that_is_no_whole_parameter_is_refused(problem: Problem) -> None:
    space = WeightSpace.of(problem.model)
    with pytest.raises(SystemExit, match="to be a whole parameter, found None"):
        moved(torch.nn.Linear(2, 2), space)
