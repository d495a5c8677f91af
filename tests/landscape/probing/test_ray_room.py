"""Check that actors without cores are warned of, and actors without memory refused."""

from __future__ import annotations

import pytest

from landscape.probing.engines import ray_room
from landscape.probing.engines.ray_room import actors_in, check_memory, check_states, cores_for
from landscape.probing.plan import identified
from quant import memory
from quant.errors import UsageError
from quant.space import WeightSpace
from tests import tiny
from tests.tiny import opt


def test_without_a_number_a_cluster_has_the_cores_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_room, "usable_cores", lambda: 6)
    warnings: list[str] = []
    assert cores_for(None, 2, warnings.append) == 6
    assert cores_for(3, 2, warnings.append) == 6
    assert not warnings


def test_actors_that_share_cores_are_started_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_room, "usable_cores", lambda: 16)
    warnings: list[str] = []
    assert cores_for(2, 16, warnings.append) == 32
    assert warnings == [
        "2 actors of 16 threads share 16 cores, which slows them; ask for fewer --ray-workers, or begin a new --store "
        "with OMP_NUM_THREADS=1"
    ]


@pytest.mark.parametrize(
    ("workers", "threads", "gpus", "expected"), [(None, 4, 0.0, 2), (2, 4, 0.0, 2), (None, 1, 0.5, 6), (1, 1, 1.0, 1)]
)
def test_there_are_as_many_actors_as_asked_for_else_as_fit(
    workers: int | None, threads: int, gpus: float, expected: int
) -> None:
    assert actors_in({"CPU": 8.0, "GPU": 3.0}, workers, threads, gpus) == expected


@pytest.mark.parametrize(("workers", "threads", "gpus"), [(3, 4, 0.0), (None, 9, 0.0), (4, 1, 1.0)])
def test_more_actors_than_fit_are_refused(workers: int | None, threads: int, gpus: float) -> None:
    with pytest.raises(UsageError, match=r"^expected room in the cluster for . actors of . threads and"):
        actors_in({"CPU": 8.0, "GPU": 3.0}, workers, threads, gpus)


def test_actors_that_do_not_fit_in_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = opt()
    space = WeightSpace.of(model)
    weights = 4 * sum(weight.numel() for weight in model.parameters())
    three = 3 * (weights + 4 * space.dimension + 4 * space.dimension)
    monkeypatch.setattr(memory, "available_host_memory", lambda: three)
    check_memory(3, model, space)
    with pytest.raises(UsageError, match=r"^expected 4 actors to fit in the .* ask for fewer --ray-workers$"):
        check_memory(4, model, space)


def test_predictions_at_w_that_do_not_fit_in_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model, windows = opt(), identified(tiny.windows(5, 12))
    states = 5 * 11 * 4 * model.config.vocab_size  # float32, of all tokens but the last: logits, windows being so short
    monkeypatch.setattr(memory, "available_host_memory", lambda: 3 * states)
    check_states(3, model, windows)
    check_states(9, model, ())
    with pytest.raises(UsageError, match=r"^expected 4 actors to fit in the .* ask for fewer --ray-workers$"):
        check_states(4, model, windows)
