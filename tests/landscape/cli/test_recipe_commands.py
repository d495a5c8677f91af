"""The commands of landscape that recipes hold are read by the command line."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from landscape.advice.recipe import FLOATS, Original, Recipe, output_name
from landscape.advice.recipes import recipes
from landscape.quantize import QuantizeRequest
from landscape.session.request import PresetRequest, Request
from landscape.session.subject_words import subject_words
from quant.scheme import QuantScheme

MODEL = "org/a model"
GRIDS = (QuantScheme(4), QuantScheme(3, "mse", "group:32"), QuantScheme(8, "absmax", "channel", symmetric=False))


ASKED = ("--model", MODEL, "--data", "some text.txt", "--exclude", "*.fc1,a b*", "--revision", "v1", "--bos",
         "--seed", "7", "--data-revision", "x y", "--dtype", "bfloat16", "--preset", "paper",
         "--seq-len", "64")  # fmt: skip


def original(request: Request) -> Original:
    """The model of a run of a request."""
    return Original(request.model, revision=request.revision, options=subject_words(request))


@pytest.fixture
def requests(asked: Callable[..., Request]) -> Callable[[Recipe], list[Request]]:
    """Return the requests of all commands of landscape in a recipe."""

    def read(recipe: Recipe) -> list[Request]:
        lines = [*recipe.code.splitlines(), *(note.partition(": ")[2] for note in recipe.notes)]
        return [asked(*shlex.split(line)[1:]) for line in lines if line.startswith("landscape ")]

    return read


def shared(request: Request) -> dict[str, object]:
    """The fields that say what is measured."""
    return {
        field.name: getattr(request, field.name)
        for field in fields(PresetRequest)
        if field.name not in ("store", "device", "device_map", "gptq", "preset")
    }


@pytest.mark.parametrize("asked_for", [("--model", MODEL), ASKED], ids=["plain", "options"])
@pytest.mark.parametrize("grid", [*GRIDS, *map(QuantScheme.of_format, FLOATS)], ids=str)
def test_training_here_is_a_request_for_the_grid(
    asked: Callable[..., Request],
    requests: Callable[[Recipe], list[Request]],
    grid: QuantScheme,
    asked_for: tuple[str, ...],
) -> None:
    advice = asked("advise", *asked_for)
    first, *_ = recipes(original(advice), "qaft", grid)
    (request,) = requests(first)
    assert isinstance(request, QuantizeRequest)
    assert (request.method, request.spec.scheme) == ("qaft", grid)
    assert request.export == Path(output_name(MODEL, "qaft", grid))
    assert shared(request) == shared(advice)
    assert isinstance(advice, PresetRequest)
    assert (request.preset.name, request.preset.seq_len) == (advice.preset.name, advice.preset.seq_len)


@pytest.mark.parametrize("asked_for", [("--model", MODEL), ASKED], ids=["plain", "options"])
@pytest.mark.parametrize("way", ["rtn", "gptq"])
def test_what_was_made_is_a_point_of_a_probe_of_the_same_weights_and_text(
    asked: Callable[..., Request],
    requests: Callable[[Recipe], list[Request]],
    way: str,
    asked_for: tuple[str, ...],
) -> None:
    advice = asked("advise", *asked_for)
    found = [request for recipe in recipes(original(advice), way, GRIDS[0]) for request in requests(recipe)]
    assert len(found) == 3
    for request in found:
        assert [point.name for point in request.external] == ["shipped"]
        assert shared(request) == shared(advice)
        assert (request.preset.name, request.preset.seq_len) == (advice.preset.name, advice.preset.seq_len)
    assert len({request.external[0].path for request in found}) == 3
