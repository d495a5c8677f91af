from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from quant import versions
from quant.center import Center
from quant.methods.awq import awq
from quant.methods.gptq import gptq
from quant.methods.options import SignRoundOptions, TrainingOptions
from quant.methods.qaft import finetune, qaft
from quant.methods.rtn import rtn
from quant.methods.signround import signround
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.space import WeightSpace
from tests import tiny

SCHEME, WINDOWS, ONE_EPOCH = QuantScheme(3), tiny.windows(1), TrainingOptions(rates=(1e-3, 1e-2), epochs=1)


@pytest.fixture
def fresh() -> Iterator[None]:
    """What has been looked up is looked up again, before and after."""
    versions._found.cache_clear()
    yield
    versions._found.cache_clear()


def start(space: WeightSpace, model: torch.nn.Module) -> WeightPoint:
    return rtn(space, Center.of(model, space), SCHEME)


MAKERS: dict[str, Callable[..., WeightPoint]] = {
    "rtn": lambda model, space: start(space, model),
    "gptq": lambda model, space: gptq(model, space, start(space, model), WINDOWS),
    "qaft": lambda model, space: qaft(model, space, start(space, model), WINDOWS, WINDOWS, ONE_EPOCH),
    "w_ft": lambda model, space: finetune(model, space, WINDOWS, WINDOWS, ONE_EPOCH),
    "awq": lambda model, space: awq(model, space, None, SCHEME, WINDOWS),
    "signround": lambda m, space: signround(m, space, start(space, m), WINDOWS, SignRoundOptions(steps=1)),
}


@pytest.mark.parametrize("method", MAKERS)
def test_every_record_names_them(method: str) -> None:
    model = tiny.llama()
    point = MAKERS[method](model, WeightSpace.of(model))
    assert point.method == method
    assert json.loads(json.dumps(point.provenance))["versions"] == {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": np.__version__,
        "quant-landscape": metadata.version("quant-landscape"),
        "python": platform.python_version(),
    }


def test_a_missing_distribution_has_no_version(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_DISTRIBUTIONS", ("torch", "no-such-distribution"))
    found = versions.library_versions()
    assert found == {"torch": torch.__version__, "no-such-distribution": None, "python": platform.python_version()}


def test_a_caller_may_change_its_copy() -> None:
    versions.library_versions()["torch"] = "other"
    assert versions.library_versions()["torch"] == torch.__version__


def test_a_training_run_goes_on_after_an_upgrade(tmp_path: Path, fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.llama()
    space, steps = WeightSpace.of(model), []

    def stop(done: int, total: int) -> None:
        if done == 2:  # the first rate's only epoch is in the state
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(model, space, WINDOWS, WINDOWS, ONE_EPOCH, folder=tmp_path, progress=stop)
    monkeypatch.setattr(versions, "version", lambda name: "9.9")
    versions._found.cache_clear()
    point = finetune(
        model, space, WINDOWS, WINDOWS, ONE_EPOCH, folder=tmp_path, progress=lambda done, total: steps.append(done)
    )
    assert steps == [2]
    assert point.provenance["versions"]["torch"] == "9.9"
