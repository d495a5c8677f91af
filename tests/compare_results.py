"""Compare two folders of results that ``landscape … --json`` printed, to the bit.

Run ``python -m tests.compare_results OLD NEW`` after a change that should change no number, with the same commands
before and after; surveys are expected in files called ``probe*.json``. Print each difference with its path, and return
1 if one of them is not in ``EXPECTED``. Entries of ``NAMES`` are paired by their names, so that a new point shifts
nothing. Times and places (``IGNORED``) do not count.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IGNORED = frozenset({"seconds", "store", "page", "run"})
NAMES: dict[str, tuple[str, ...]] = {
    "points": ("name",),
    "segments": ("a", "b", "split"),
    "planes": ("a", "b", "split"),
    "misalignments": ("grid",),
    "health": ("name",),
}
"""Lists of objects, by their keys, and the fields that name an entry."""
SHOWN = 100
"""Characters of a value that are printed; a number is shorter and stays whole."""


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()
"""In place of a value that one of the folders lacks."""
Change = Callable[[Any, Any], bool]
"""Whether the old and the new value differ as foreseen."""


@dataclass(frozen=True)
class Difference:
    """One path at which two results differ, or that one of them lacks."""

    path: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.path}: {_shown(self.old)} → {_shown(self.new)}"


@dataclass(frozen=True)
class Expected:
    """A difference that is no mistake."""

    path: str
    """File without its suffix, then keys and names; * stands for any characters."""
    change: Change
    reason: str

    def covers(self, difference: Difference) -> bool:
        """Return whether a difference is of this kind."""
        pattern = ".*".join(map(re.escape, self.path.split("*")))
        return bool(re.fullmatch(pattern, difference.path)) and self.change(difference.old, difference.new)


def becomes(old: object, new: object) -> Change:
    """Accept one value in place of another."""
    return lambda before, after: (before, after) == (old, new)


def renamed(old: str, new: str) -> Change:
    """Accept a text in which one name stands for another."""
    return lambda before, after: isinstance(before, str) and old in before and before.replace(old, new) == after


def added(before: object, after: object) -> bool:
    """Accept what the old result lacks."""
    return before is ABSENT


def grows(before: object, after: object) -> bool:
    """Accept a larger count."""
    return type(before) is int and type(after) is int and before < after


def counts_more(before: object, after: object) -> bool:
    """Accept the same sentence with a larger count in it."""
    texts = [str(before), str(after)]
    numbers = [[int(number) for number in re.findall(r"\d+", text)] for text in texts]
    same = len({re.sub(r"\d+", "", text) for text in texts}) == 1
    return same and all(low <= high for low, high in zip(*numbers, strict=True))


def evaluates_now(before: object, after: object) -> bool:
    """Accept the words of a check for which nothing had been evaluated."""
    return isinstance(before, str) and before.startswith("Nothing was evaluated in this run")


def was_text(before: object, after: object) -> bool:
    """Accept an object in place of text, or text that has all lines of the old one."""
    if not isinstance(before, str):
        return False
    return isinstance(after, dict) or (isinstance(after, str) and set(before.splitlines()) <= set(after.splitlines()))


def is_time(before: object, after: object) -> bool:
    """Accept any two numbers."""
    return type(before) is float and type(after) is float


EXPECTED = (
    Expected("*/schema_version", becomes(2, 3), "a loss can be inconclusive: version 3"),
    Expected("*/loss", becomes("degraded", "inconclusive"), "inconclusive is a word of its own"),
    Expected(
        "*/numbers[*]/source", renamed("landscape/VALIDATION.md", "benchmarks/advice/README.md"), "the page moved"
    ),
    Expected("*/seconds_per_pass", is_time, "a time"),
    Expected("*/points[w_ft-*]", added, "w_FT is a point of a survey"),
    Expected("*/segments[*w_ft-*]", added, "w_FT is a point of a survey"),
    Expected("*/misalignments", added, "M is a number of a survey"),
    Expected("*/misalignments[*]", added, "M is a number of a survey"),
    Expected("probe*/probes/*", grows, "w_FT is probed too"),
    Expected("probe*/health[finite losses]/words", counts_more, "w_FT is probed too"),
    Expected("probe*/health[*]/passed", becomes(None, True), "w_FT is evaluated now, so that checks are made"),
    Expected("probe*/health[*]/words", evaluates_now, "w_FT is evaluated now, so that checks are made"),
    Expected("quantize*", was_text, "quantize printed text before it had --json"),
)


def compare_folders(old: Path, new: Path) -> Iterator[Difference]:
    """Compare the results of the same name.

    Args:
        old: Folder of ``*.json`` from before a change.
        new: Folder from after it.
    """
    for name in sorted({file.name for folder in (old, new) for file in folder.glob("*.json")}):
        stem, before, after = Path(name).stem, _read(old / name), _read(new / name)
        if before is ABSENT and after is ABSENT:  # both commands failed: that is no agreement
            yield Difference(stem, before, after)
        yield from compare(before, after, stem)


def compare(old: Any, new: Any, path: str) -> Iterator[Difference]:
    """Compare two values, by key, name or index where they hold others.

    Args:
        old: The value before.
        new: The value after.
        path: Where it stands; the last key says how a list is paired.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            if key not in IGNORED:
                yield from compare(old.get(key, ABSENT), new.get(key, ABSENT), f"{path}/{key}")
    elif isinstance(old, list) and isinstance(new, list):
        yield from _compare_lists(old, new, path)
    elif type(old) is not type(new) or repr(old) != repr(new):  # 1, 1.0 and true are equal, as are 0.0 and -0.0
        yield Difference(path, old, new)


def _compare_lists(old: list[Any], new: list[Any], path: str) -> Iterator[Difference]:
    fields = NAMES.get(path.rsplit("/", 1)[-1])
    before, after = _named(old, fields), _named(new, fields)
    if before is None or after is None:
        before, after = dict(enumerate(old)), dict(enumerate(new))
    for name in dict.fromkeys((*before, *after)):
        yield from compare(before.get(name, ABSENT), after.get(name, ABSENT), f"{path}[{name}]")
    orders = [[name for name in one if name in other] for one, other in ((before, after), (after, before))]
    if orders[0] != orders[1]:
        yield Difference(f"{path}, their order", *orders)


def _named(entries: list[Any], fields: tuple[str, ...] | None) -> Mapping[Any, Any] | None:
    """Return entries by their names, or None where two have the same name."""
    if fields is None or not all(isinstance(each, dict) and each.keys() >= set(fields) for each in entries):
        return None
    named = {", ".join(str(each[field]) for field in fields): each for each in entries}
    return named if len(named) == len(entries) else None


def _read(path: Path) -> Any:
    """Return an object, the text of a file that is not JSON, or ``ABSENT`` if there is no file or an empty one."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if not text.strip():
        return ABSENT
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _shown(value: object) -> str:
    text = repr(value) if value is ABSENT else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def main(arguments: list[str]) -> int:
    """Print the differences, the unexpected ones last, and return 1 if there are any of these."""
    folders = [Path(argument) for argument in arguments]
    if len(folders) != 2 or not all(any(folder.glob("*.json")) for folder in folders):
        print(f"expected two folders of *.json, OLD and NEW, got {' '.join(arguments) or 'none'}", file=sys.stderr)
        return 2
    reasons: Counter[str] = Counter()
    unexpected = []
    for difference in compare_folders(*folders):
        reason = next((row.reason for row in EXPECTED if row.covers(difference)), None)
        if reason is None:
            unexpected.append(difference)
        else:
            print(f"expected    {difference}    # {reason}")
            reasons[reason] += 1
    for difference in unexpected:
        print(f"UNEXPECTED  {difference}")
    print(
        "\n" + "".join(f"{count:5} {reason}\n" for reason, count in reasons.items()) + f"{len(unexpected):5} unexpected"
    )
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
