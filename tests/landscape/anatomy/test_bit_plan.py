import pytest
import torch

from landscape.anatomy.bit_plan import check_windows, plan_bits
from landscape.estimators.loss_limit import Limit
from landscape.probing.plan import identified
from quant.errors import UsageError
from tests import tiny
from tests.landscape.additive import Additive

MESSAGE = "expected validation windows of at least two articles for a plan of bits, got "


@pytest.mark.parametrize(
    ("count", "articles", "got"),
    [(1, None, "1 window,"), (1, [3], "1 window,"), (3, [3, 3, 3], "3 windows of one,")],
)
def test_windows_that_tell_no_noise_make_no_plan(count: int, articles: list[int] | None, got: str) -> None:
    windows = identified(tiny.windows(count), None if articles is None else torch.tensor(articles))
    with pytest.raises(UsageError, match=f"{MESSAGE}{got} .*; use more --windows"):
        check_windows(windows)


@pytest.mark.parametrize("articles", [None, [3, 4]])
def test_two_articles_do_and_so_do_two_windows_whose_articles_are_not_known(articles: list[int] | None) -> None:
    check_windows(identified(tiny.windows(2), None if articles is None else torch.tensor(articles)))


def test_nothing_is_evaluated_for_a_plan_that_cannot_be() -> None:
    house = Additive({})
    windows = {"validation": identified(tiny.windows(1)), "test": identified(tiny.windows(2))}

    def run(*others: object) -> None:
        pytest.fail("a plan was run")

    with pytest.raises(UsageError, match=MESSAGE):
        plan_bits(run, house.space, house.center, {}, windows, Limit.parse("ppl+5%"))  # type: ignore[arg-type]
