"""List small real commands, what each answers when nothing disturbs it, and what it keeps."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.torture.forks import Outcome, Settings, run
from tests.torture.materials import Materials
from tests.torture.rows import Rows, read_rows
from tests.torture.verdict import Verdict, difference, judge, numbers

_TINY = (
    "--seq-len 12 --directions 2 --windows 2 --test-windows 1 --lambda-count 4 --alphas 2 --refinements 0 "
    "--calibration-windows 2 --qaft-examples 3 --qaft-rates 1e-4 --output page --json"
)
_LLAMA = "--model {m.llama} --data {m.words}"


@dataclass(frozen=True)
class Scenario:
    """One command."""

    name: str
    words: str
    """Its words; ``{m.llama}`` and the like are places of models and texts."""
    after: str = ""
    """Scenario whose finished cache it begins with; an empty cache without."""
    outputs: tuple[str, ...] = ()
    """Files and folders that it writes, whose content is part of the answer."""


SCENARIOS = (
    Scenario("rtn", f"probe {_LLAMA} {_TINY} --bits 2 --methods rtn,gptq"),
    Scenario("qaft", f"probe {_LLAMA} {_TINY} --bits 3 --methods qaft --qaft-epochs 3 --layers"),
    Scenario("gguf", f"probe --model {{m.gguf}} --data {{m.characters}} {_TINY} --bits 2 --methods rtn"),
    Scenario("self", f"probe --model {{m.llama}} --data self {_TINY} --bits 2 --methods rtn"),
    Scenario("radius", f"radius {_LLAMA} --seq-len 12 --precision 0.9 --max-minutes 1 --json"),
    Scenario(
        "quantize",
        f"quantize {_LLAMA} --seq-len 12 --calibration-windows 2 --bits 3 --method gptq --granularity channel "
        "--export out --json",
        outputs=("out",),
    ),
    Scenario("point", f"probe {_LLAMA} {_TINY} --bits 8 --methods rtn --point q=point"),
    Scenario(
        "study", f"study --models {{m.llama}},{{m.opt}} --data {{m.words}} {_TINY} --bits 2 --methods rtn --name s"
    ),
    Scenario(
        "anatomy",
        f"anatomy {_LLAMA} --seq-len 12 --directions 2 --windows 2 --test-windows 1 --calibration-windows 2 --bits 2 "
        "--groups type --no-layer-radii --output page --json",
    ),
    Scenario("plot", "plot survey-llama --json --output page", "rtn", ("page",)),
    Scenario("report", "report s --json --output page.html", "study", ("page.html",)),
    Scenario("export", "export survey-llama -o e.h5 --with-points --surfaces surf --json", "rtn", ("e.h5", "surf")),
    Scenario("verify", "cache verify --json", "qaft"),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@dataclass(frozen=True)
class Answer:
    """What a command answered."""

    json: Any
    """Its JSON, whole."""
    outputs: dict[str, str]
    """The hash of each file that it wrote."""


@dataclass(frozen=True)
class Reference:
    """An undisturbed run of a scenario."""

    scenario: Scenario
    words: tuple[str, ...]
    folder: Path
    """Its working folder, which holds the finished ``cache``."""
    answer: Answer
    rows: Rows
    """What its cache holds."""
    seconds: float

    def begin(self, folder: Path, finished: bool = False) -> Path:
        """Make a working folder for another run, with the cache it begins with, or a finished one; return the cache."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        start = self.folder / ("cache" if finished else "before")
        if start.is_dir():
            shutil.copytree(start, folder / "cache", symlinks=True)
        if self.scenario.name == "point":
            shutil.copytree(self.folder.parent / "quantize" / "out", folder / "point")
        return folder / "cache"

    def run(self, folder: Path, kill_after: float | None = None, **settings: Any) -> Outcome:
        """Run the command in a working folder; kill it after so many seconds."""
        for name in self.scenario.outputs:
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name).unlink(missing_ok=True)
        return run(self.words, Settings(folder, Path("cache"), **settings), kill_after)

    def check(self, outcome: Outcome, folder: Path) -> Verdict:
        """Judge a run that may refuse, and whose numbers must be those of the undisturbed run if it does not."""
        verdict = judge(outcome)
        if verdict.kind != "well":
            return verdict
        try:
            found = read_answer(self.scenario, outcome, folder)
        except ValueError as error:
            return replace(verdict, kind="unexpected", words=f"no JSON: {error}")
        words = difference(numbers(self.answer.json), numbers(found.json))
        words = words or difference(self.answer.outputs, found.outputs, "files")
        return replace(verdict, kind="wrong", words=words) if words else verdict


def read_answer(scenario: Scenario, outcome: Outcome, folder: Path) -> Answer:
    """Read what a command answered.

    Raises:
        ValueError: if it did not print JSON.
    """
    return Answer(json.loads(outcome.out), dict(_hashes(folder, scenario.outputs)))


def make_references(materials: Materials, folder: Path, names: Iterable[str] = ()) -> dict[str, Reference]:
    """Run scenarios undisturbed, those that they need included; all of them without names."""
    wanted = set(names) or set(BY_NAME)
    wanted |= {BY_NAME[name].after for name in wanted if BY_NAME[name].after}
    wanted |= {"quantize"} if "point" in wanted else set()
    found: dict[str, Reference] = {}
    for scenario in SCENARIOS:
        if scenario.name in wanted:
            found[scenario.name] = _make(scenario, materials, folder / scenario.name, found)
    return found


def _make(scenario: Scenario, materials: Materials, folder: Path, known: dict[str, Reference]) -> Reference:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if scenario.after:
        for name in ("before", "cache"):
            shutil.copytree(known[scenario.after].folder / "cache", folder / name)
    words = tuple(shlex.split(scenario.words.format(m=materials)))
    reference = Reference(scenario, words, folder, Answer(None, {}), {}, 0.0)
    if scenario.name == "point":
        shutil.copytree(known["quantize"].folder / "out", folder / "point")
    outcome = reference.run(folder)
    if outcome.code != 0:
        raise RuntimeError(f"expected {shlex.join(words)} to end well, got {outcome.code}: {outcome.err[-2000:]}")
    answer, rows = read_answer(scenario, outcome, folder), read_rows(folder / "cache")
    return Reference(scenario, words, folder, answer, rows, outcome.seconds)


def _hashes(folder: Path, outputs: Iterable[str]) -> Iterable[tuple[str, str]]:
    for output in outputs:
        path = folder / output
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                yield file.relative_to(folder).as_posix(), hashlib.sha256(file.read_bytes()).hexdigest()
