"""The example in the package's README runs as it stands, and the options that it names are there."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import quant
from quant.point import WeightPoint

README = Path(quant.__file__).with_name("README.md")
CALLS = re.findall(r"`(\w+)\(([^`)]*)\)`", README.read_text())


def test_the_example_runs() -> None:
    blocks = re.findall(r"(?:^    .*\n|^\n)+", README.read_text(), re.MULTILINE)
    code = "".join(line.removeprefix("    ") for line in next(b for b in blocks if "import" in b).splitlines(True))
    names: dict[str, object] = {}
    exec(compile(code, str(README), "exec"), names)
    points = [value for value in names.values() if isinstance(value, WeightPoint)]
    assert [point.name for point in points] == ["rtn-int3-exact", "gptq-int3-exact", "qaft-int3-exact"]


def test_calls_are_found() -> None:
    assert [name for name, _ in CALLS][:4] == ["QuantScheme", "GPTQOptions", "TrainingOptions", "qaft"]


@pytest.mark.parametrize(("name", "arguments"), CALLS)
def test_options_in_the_text_are_those_of_the_code(name: str, arguments: str) -> None:
    """``name``, ``name=default`` or ``name=default | other | other``."""
    parameters = inspect.signature(getattr(quant, name)).parameters
    for argument in arguments.replace("…, ", "").split(", "):
        key, _, values = argument.partition("=")
        assert key in parameters
        if '"' in values:
            default, *others = (ast.literal_eval(value.strip()) for value in values.split("|"))
            assert parameters[key].default == default
            for other in others:
                getattr(quant, name)(**{key: other})
