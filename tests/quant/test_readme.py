"""The example in the package's README runs as it stands."""

import re
from pathlib import Path

import quant
from quant.point import WeightPoint

README = Path(quant.__file__).with_name("README.md")


def test_the_example_runs() -> None:
    blocks = re.findall(r"(?:^    .*\n|^\n)+", README.read_text(), re.MULTILINE)
    code = "".join(line.removeprefix("    ") for line in next(b for b in blocks if "import" in b).splitlines(True))
    names: dict[str, object] = {}
    exec(compile(code, str(README), "exec"), names)
    points = [value for value in names.values() if isinstance(value, WeightPoint)]
    assert [point.name for point in points] == ["rtn-int3-exact", "gptq-int3-exact", "qaft-int3-exact"]
