"""The commands of landscape that recipes hold are read by the command line."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from landscape.advice.recipe import output_name
from landscape.advice.recipes import recipes
from landscape.quantize import QuantizeRequest
from landscape.session.request import Request
from quant.scheme import QuantScheme

MODEL = "org/a model"
GRIDS = (QuantScheme(4), QuantScheme(3, "mse", "group:32"), QuantScheme(8, "absmax", "channel", symmetric=False))


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_training_here_is_a_request_for_the_grid(asked: Callable[..., Request], grid: QuantScheme) -> None:
    first, *_ = recipes(MODEL, "qaft", grid)
    request = asked(*shlex.split(first.code)[1:])
    assert isinstance(request, QuantizeRequest)
    assert (request.model, request.method, request.spec.scheme) == (MODEL, "qaft", grid)
    assert request.export == Path(output_name(MODEL, "qaft", grid))


@pytest.mark.parametrize("way", ["rtn", "gptq"])
def test_what_was_made_is_a_point_of_a_probe(asked: Callable[..., Request], way: str) -> None:
    found = 0
    for recipe in recipes(MODEL, way, GRIDS[0]):
        for note in recipe.notes:
            _, landscape, command = note.partition("landscape probe")
            if landscape:
                request = asked("probe", *shlex.split(command))
                assert [point.name for point in request.external] == ["shipped"]
                found += 1
    assert found == 3
