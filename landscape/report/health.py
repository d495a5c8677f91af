"""The checks of a run as pieces of a page: what failed at its top, what was found at its end."""

from __future__ import annotations

import html
from collections.abc import Sequence

from landscape.health.checks import failed
from landscape.report.markup import items
from landscape.report.survey.wording import health_sentence
from landscape.session.run_record import Check


def alarm(checks: Sequence[Check]) -> str:
    """What failed, for the top of the page; nothing if nothing did."""
    wrong = failed(checks)
    if not wrong:
        return ""
    each = items("ul", (_check((check.name,), check.words) for check in wrong))
    return f'<div class="alarm">\n<p><strong>This run is not sound.</strong></p>\n{each}\n</div>'


def health_section(checks: Sequence[Check]) -> str:
    """The verdict, what could not be judged, and on demand what was found in order."""
    passed, unjudged = ([check for check in checks if check.passed is flag] for flag in (True, None))
    alike = {check.words: tuple(c.name for c in unjudged if c.words == check.words) for check in unjudged}
    lines = [f"<p>{html.escape(health_sentence(checks))}</p>"]
    lines += [f"<p>Not judged: {_check(names, words)}</p>" for words, names in alike.items()]
    if passed:
        names = html.escape(", ".join(check.name for check in passed))
        found = items("ul", (_check((check.name,), check.words) for check in passed))
        lines.append(f"<details><summary>Passed: {names}</summary>\n{found}\n</details>")
    heading = '<h2 id="health-title">Is this run sound?</h2>'
    return "\n".join(['<section aria-labelledby="health-title">', heading, *lines, "</section>"])


def _check(names: Sequence[str], words: str) -> str:
    return f"<strong>{html.escape(', '.join(names))}.</strong> {html.escape(words)}"
