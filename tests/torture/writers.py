"""Let eight processes work in one cache at once, and kill two of them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from tests.torture.contexts import Context, Round
from tests.torture.forks import Outcome, Settings, command, finish, start
from tests.torture.rows import changed, read_rows
from tests.torture.scenarios import Reference
from tests.torture.verdict import Verdict

_SCENARIOS = ("rtn", "qaft", "self", "radius", "gguf", "study", "anatomy", "quantize")
PROCESSES, KILLED = 8, 2


def attempt(context: Context, number: int) -> Verdict:
    """Start eight commands, all of one kind or of several, kill two, and run these again."""
    draw = context.draw("writers", number)
    kinds = draw.sample(_SCENARIOS, draw.choice((1, 2, 8)))
    chosen = [context.references[kinds[i % len(kinds)]] for i in range(PROCESSES)]
    moments = {i: draw.uniform(0.3, 3 * chosen[i].seconds) for i in draw.sample(range(PROCESSES), KILLED)}
    with context.folder("writers", number) as folder:
        asked = f"{PROCESSES} processes of {', '.join(kinds)}, two killed"
        cache = folder / "cache"
        worst = _at_once(chosen, folder, moments)
        before = read_rows(cache)
        for i in moments:
            place = folder / f"p{i}"
            verdict = chosen[i].check(_run(chosen[i], place, cache), place)
            worst = verdict if verdict.is_fault else worst
        expected = {key: value for reference in chosen for key, value in reference.rows.items()}
        if not worst.is_fault and (words := changed(before, read_rows(cache)) or changed(expected, read_rows(cache))):
            worst = replace(worst, kind="lost", words=words)
        return worst.of(asked)


def _at_once(chosen: list[Reference], folder: Path, moments: dict[int, float]) -> Verdict:
    """Run all at once; return the verdict of the first that shows a fault, else that of the slowest."""
    began, children = time.monotonic(), []
    for i, reference in enumerate(chosen):
        settings = Settings(folder / f"p{i}", folder / "cache")
        children.append((start(command(reference.words), settings), settings))
    verdicts = []
    order = sorted(range(len(chosen)), key=lambda i: moments.get(i, float("inf")))
    for i in order:
        outcome = finish(*children[i], began, moments.get(i))
        verdict = chosen[i].check(outcome, folder / f"p{i}")
        if i in moments and outcome.code == -9:
            verdict = Verdict("well", "", outcome.seconds, outcome.peak)
        elif verdict.kind == "refused":
            verdict = replace(verdict, kind="unexpected", words=f"refused beside others: {verdict.words}")
        verdicts.append(verdict)
    return max(verdicts, key=lambda verdict: (verdict.is_fault, verdict.seconds))


def _run(reference: Reference, place: Path, cache: Path) -> Outcome:
    settings = Settings(place, cache)
    began = time.monotonic()
    return finish(start(command(reference.words), settings), settings, began)


ROUND = Round("writers", 12, attempt, "eight processes in one cache, two of them killed", _SCENARIOS, 20.0)
