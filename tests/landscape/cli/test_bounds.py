"""Numbers beyond all use are refused at once, with the reason."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landscape.cli.commands import COMMANDS
from landscape.cli.run import command_options
from landscape.session.bounds import SEED
from landscape.survey.request import SurveyRequest
from quant.errors import UsageError

NUMBERS = [
    (command.name, option.flag, option.most)
    for command in COMMANDS
    for option in command_options(command)
    if option.kind in (int, int | None)
]
ASKED = {
    "--directions", "--windows", "--test-windows", "--lambda-count", "--alphas", "--refinements", "--batch", "--seed",
    "--calibration-windows", "--qaft-examples", "--qaft-epochs", "--ray-workers", "--seq-len",
}  # fmt: skip


def test_all_whole_numbers_of_all_commands_are_looked_at() -> None:
    assert {flag for _, flag, _ in NUMBERS} >= ASKED
    assert not [(command, flag) for command, flag, most in NUMBERS if most is None]


@pytest.mark.parametrize(("command", "flag", "most"), NUMBERS, ids=lambda part: str(getattr(part, "value", part)))
@pytest.mark.parametrize("over", [1, 10**30], ids=["one more", "many more"])
def test_one_more_than_the_most_is_refused(run, command: str, flag: str, most, over: int) -> None:
    given = most.value + over
    code, out, err = run(command, flag, given, *(["--export", "x"] if command == "quantize" else []))
    assert (code, out) == (2, "")
    assert err == (
        f"landscape: error: expected at most {most.value} as {flag}, {most.why}, got {str(given)[:40]}; give fewer\n"
    )


def test_a_billion_is_beyond_each_of_them_but_the_seed() -> None:
    assert all(most.value < 10**9 for _, flag, most in NUMBERS if flag != "--seed")


def test_the_largest_seed_is_that_of_numpy_and_torch() -> None:
    np.random.Philox(key=np.array([SEED.value, 0], dtype=np.uint64))
    torch.Generator().manual_seed(SEED.value)
    with pytest.raises(OverflowError):
        np.array([SEED.value + 1], dtype=np.uint64)
    with pytest.raises((RuntimeError, ValueError)):
        torch.Generator().manual_seed(SEED.value + 1)


def test_numbers_that_are_too_many_together_are_refused() -> None:
    with pytest.raises(UsageError, match=r"at most 20000000 probes, got 50000000 positions \(--directions × distances"):
        SurveyRequest(directions=100_000, lambdas=tuple(range(1, 501)))
    with pytest.raises(UsageError, match="on 8 windows each"):
        SurveyRequest(directions=100_000, lambdas=tuple(range(1, 101)))
    assert SurveyRequest(directions=1000, lambdas=tuple(range(1, 101))).directions == 1000
