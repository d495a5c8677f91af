"""Judge what became of a command: it ended well, it refused in a sentence, or it shows a fault."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Literal

from tests.torture.forks import Outcome

Kind = Literal["well", "refused", "lost", "wrong", "traceback", "unexpected", "beyond"]
FAULTS: tuple[Kind, ...] = ("lost", "wrong", "traceback", "unexpected", "beyond")
"""Rows that are gone; another number; a traceback; what no user should see; more memory or time than allowed."""

_SENTENCE = "landscape: error: "
_LEFT_OUT = "it is left out, since it failed"
"""Words of a study about a model that failed, of which it exits with 1 once the others are done."""
_ODD = re.compile(r"error: unexpected \w+|/site-packages/|^\S*\.py:\d+: |Segmentation fault|core dumped", re.MULTILINE)
_HIDDEN = {"seconds", "seconds_per_pass", "evaluated", "cached", "minutes", "written_by"}
"""Keys of JSON that say how a run went, and not what it found."""
_PLACES = {"store", "run", "export", "page", "output", "files"}
"""Keys of the places of files, where these are text: a run of which a disk keeps nothing has none."""


@dataclass(frozen=True)
class Verdict:
    """The end of one try."""

    kind: Kind
    words: str = ""
    """What was asked, and for a fault what is wrong."""
    seconds: float = 0.0
    peak: int = 0

    @property
    def is_fault(self) -> bool:
        """True if the try shows a fault of the product."""
        return self.kind in FAULTS

    def of(self, asked: str) -> Verdict:
        """Return the verdict with what was asked before its words."""
        return replace(self, words=f"{asked}: {self.words}" if self.words else asked)


def judge(outcome: Outcome) -> Verdict:
    """Judge a command by its exit code and by what it printed, whatever its numbers."""

    def verdict(kind: Kind, words: str = "") -> Verdict:
        return Verdict(kind, words, outcome.seconds, outcome.peak)

    last = outcome.err.rstrip("\n").splitlines()[-1:] or [""]
    if outcome.code is None:
        return verdict("beyond", f"{outcome.seconds:.0f} s, {outcome.peak / 2**20:.0f} MiB; {last[0][:200]}")
    if "Traceback (most recent call last)" in outcome.text:
        return verdict("traceback", last[0][:300])
    if found := _ODD.search(outcome.text):
        line = next(line for line in outcome.text.splitlines() if found[0].strip() in line)
        return verdict("unexpected", line[:400])
    if outcome.code == 0:
        return verdict("well")
    if outcome.code == 1 and (found := re.search(rf"^landscape: warning: .*{_LEFT_OUT}.*", outcome.err, re.MULTILINE)):
        return verdict("refused", found[0][:400])
    if outcome.code in (1, 2) and sum(line.startswith(_SENTENCE) for line in outcome.err.splitlines()) == 1:
        return verdict("refused", next(line for line in outcome.err.splitlines() if line.startswith(_SENTENCE))[:400])
    return verdict("unexpected", f"exit code {outcome.code} without a sentence; {last[0][:300]}")


def numbers(value: Any) -> Any:
    """Return JSON without what may differ between two runs of one command: times, counts, and words about checks."""
    if isinstance(value, dict):
        kept = {key: numbers(held) for key, held in value.items() if not _is_hidden(key, held)}
        if {"name", "passed", "words"} <= kept.keys():  # a check that was not needed has not failed
            kept = {"name": kept["name"], "failed": kept["passed"] is False}
        return kept
    return [numbers(held) for held in value] if isinstance(value, list) else value


def _is_hidden(key: str, value: Any) -> bool:
    places = value if isinstance(value, list) else [value]
    return key in _HIDDEN or (key in _PLACES and all(place is None or isinstance(place, str) for place in places))


def difference(expected: Any, found: Any, place: str = "") -> str:
    """Describe the first difference of two JSON values; empty if they are equal to the bit."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in [*expected, *(found.keys() - expected.keys())]:
            if key not in expected or key not in found:
                return f"{place}.{key} is in one of them alone"
            if words := difference(expected[key], found[key], f"{place}.{key}"):
                return words
        return ""
    if isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            return f"{place} has {len(found)} entries, not {len(expected)}"
        differences = (difference(a, b, f"{place}[{i}]") for i, (a, b) in enumerate(zip(expected, found, strict=True)))
        return next(filter(None, differences), "")
    same = type(expected) is type(found) and (expected == found or repr(expected) == repr(found))
    return "" if same else f"{place} is {str(found)[:80]}, not {str(expected)[:80]}"


def evaluated(value: Any) -> int:
    """Return how many probes a run evaluated, summed over the models of a study."""
    if isinstance(value, dict):
        own = value.get("evaluated")
        return (own if isinstance(own, int) else 0) + sum(map(evaluated, value.values()))
    return sum(map(evaluated, value)) if isinstance(value, list) else 0
