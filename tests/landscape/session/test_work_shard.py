"""Shards as users and schedulers give them, and that together they take everything once."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.session.work_shard import WorkShard
from quant.errors import UsageError

SLURM = "SLURM_ARRAY_TASK_"


def array(**values: object) -> dict[str, str]:
    return {f"{SLURM}{key}": str(value) for key, value in values.items()}


@given(st.integers(1, 40), st.integers(0, 300))
def test_every_piece_of_work_is_in_one_shard_and_shards_are_equal_to_one_piece(count: int, pieces: int) -> None:
    dealt = [[p for p in range(pieces) if WorkShard(i, count).takes(p)] for i in range(1, count + 1)]
    assert sorted(chain(*dealt)) == list(range(pieces))
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


@given(st.integers(1, 99), st.integers(0, 98))
def test_a_shard_is_read_as_it_is_written(count: int, place: int) -> None:
    shard = WorkShard(place % count + 1, count)
    assert WorkShard.parse(str(shard)) == shard


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "0/0"])
def test_shards_count_from_1(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected a shard from 1/\d to \d/\d in --shard, got .*count from 1"):
        WorkShard.parse(text)


@pytest.mark.parametrize(
    "text", ["", "3", "1/", "/3", "1/3/5", "-1/3", "a/b", "1.0/3", "auto/", "auto/x", "Auto", "¹/3"]
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected --shard such as 1/8"):
        WorkShard.parse(text, array(ID=1, COUNT=3, MIN=1))


@pytest.mark.parametrize("first", [0, 1, 7])
@pytest.mark.parametrize("step", [1, 4])
def test_an_array_may_begin_anywhere(first: int, step: int) -> None:
    tasks = range(first, first + 3 * step, step)
    found = [WorkShard.parse("auto", array(ID=task, COUNT=3, MIN=first, MAX=tasks[-1], STEP=step)) for task in tasks]
    assert found == [WorkShard(1, 3), WorkShard(2, 3), WorkShard(3, 3)]
    assert WorkShard.parse("auto/3", array(ID=tasks[1], COUNT=3, MIN=first, MAX=tasks[-1], STEP=step)) == found[1]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (array(ID=7, COUNT=3, MIN=1, MAX=7, STEP=1), "got task 7 of 3 from 1 to 7 in steps of 1"),  # --array=1,3,7
        (array(ID=3, COUNT=3, MIN=1, MAX=7, STEP=1), "got task 3 of 3 from 1 to 7 in steps of 1"),
        (array(ID=2, COUNT=3, MIN=1, MAX=5, STEP=2), "got task 2 of 3 from 1 to 5 in steps of 2"),
        (array(ID=9, COUNT=3, MIN=1), "got task 9 of 3"),
        (array(ID=0, COUNT=3, MIN=1), "got task 0 of 3"),
        (array(ID=1, COUNT=0, MIN=1), "got task 1 of 0"),
        (array(ID="x", COUNT=3, MIN=1), f"expected a whole number in {SLURM}ID, got 'x'"),
        (array(ID=1, COUNT=3), f"expected {SLURM}MIN beside {SLURM}ID"),
        (array(ID=1), f"expected {SLURM}COUNT and {SLURM}MIN beside {SLURM}ID"),
        ({**array(ID=1, COUNT=3, MIN=1), "JOB_COMPLETION_INDEX": "0"}, "got both; give --shard i/n"),
        ({}, "got neither; give --shard i/n"),
        ({"JOB_COMPLETION_INDEX": "0"}, "give --shard auto/N, where N is completions of the job"),
    ],
)
def test_an_environment_that_does_not_say_which_shard_is_refused(variables: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        WorkShard.parse("auto", variables)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_pods_count_from_0_and_their_number_is_given() -> None:
    found = [WorkShard.parse("auto/3", {"JOB_COMPLETION_INDEX": str(index)}) for index in range(3)]
    assert found == [WorkShard(1, 3), WorkShard(2, 3), WorkShard(3, 3)]
    with pytest.raises(UsageError, match="expected JOB_COMPLETION_INDEX below 3 with --shard auto/3, got 3"):
        WorkShard.parse("auto/3", {"JOB_COMPLETION_INDEX": "3"})


def test_another_number_than_that_of_the_array_is_refused() -> None:
    with pytest.raises(UsageError, match="as the SLURM array has 3 tasks, got auto/8"):
        WorkShard.parse("auto/8", array(ID=1, COUNT=3, MIN=1))


def test_the_environment_of_the_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"{SLURM}ID", raising=False)
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    assert WorkShard.parse("auto/2") == WorkShard(2, 2)
