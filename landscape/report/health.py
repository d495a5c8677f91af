"""Sum up the checks of a run for its page and its JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from landscape.health.checks import failed
from landscape.session.run_record import Check


@dataclass(frozen=True)
class HealthSummary:
    """The checks of a run as a page shows them."""

    failed: tuple[Check, ...]
    """For the top of the page."""
    passed: tuple[Check, ...]
    unjudged: Mapping[str, tuple[str, ...]]
    """Names of the checks that were not judged, by the reason."""
    sentence: str
    """Whether the run was sound."""


def health_summary(checks: Sequence[Check]) -> HealthSummary:
    """Sort the checks of a run by their outcome."""
    passed, unjudged = (tuple(check for check in checks if check.passed is flag) for flag in (True, None))
    alike = {check.words: tuple(c.name for c in unjudged if c.words == check.words) for check in unjudged}
    return HealthSummary(tuple(failed(checks)), passed, alike, health_sentence(checks))


def health_sentence(checks: Sequence[Check]) -> str:
    """Say in one sentence whether the run was sound."""
    wrong, judged = failed(checks), [check for check in checks if check.passed is not None]
    count = f"{len(judged)} check" if len(judged) == 1 else f"{len(judged)} checks"
    if wrong:
        names = ", ".join(check.name for check in wrong)
        return f"No: {len(wrong)} of {count} failed, see the top of the page: {names}."
    return f"Yes, as far as checked: {count} passed, none failed."


def health_json(checks: Iterable[Check]) -> list[dict[str, Any]]:
    """Return the checks of a run, the same in every JSON object."""
    return [{"name": check.name, "passed": check.passed, "words": check.words} for check in checks]
