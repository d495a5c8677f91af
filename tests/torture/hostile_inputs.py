"""Let all that reads what others wrote read changed input, each parser for some seconds."""

from __future__ import annotations

import os
from functools import cache

from tests.torture.contexts import Context, Round
from tests.torture.verdict import Kind, Verdict

_SECONDS = 4.0
"""Seconds of one try, in which a parser reads as many inputs as it can."""


@cache
def _warm_up() -> None:
    from quant.checkpoints.reading import quiet
    from tests.torture.sweep import warm

    with quiet():
        warm()


def attempt(context: Context, number: int) -> Verdict:
    """Let one parser read changed input in a fork with limits; see ``tests.torture.sweep``."""
    from tests.torture.parsers import PARSERS
    from tests.torture.sweep import Tally, watch

    _warm_up()
    parser, tally = PARSERS[number % len(PARSERS)], Tally()
    with context.folder("parsers", number) as folder:
        os.environ["TORTURE_TMP"] = str(folder)
        faults = watch(parser, context.draw("parsers", number).randrange(2**32), folder, tally, _SECONDS)
    kind: Kind = "well" if tally.read else "refused"
    if faults:
        kind = "beyond" if faults[0][0].startswith(("hang", "growth")) else "unexpected"
    words = f"{parser.name}: {faults[0][0]}: {faults[0][1][:300]}" if faults else parser.name
    return Verdict(kind, words, _SECONDS)


ROUND = Round("parsers", 100, attempt, "changed input for all that reads files, much of it in each try", (), 5.0)
