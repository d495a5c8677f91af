"""Answer the command ``landscape``. Signals are handled before anything else is imported, as imports take seconds."""

from __future__ import annotations

import sys
from typing import Any

from landscape.cli import signals
from quant import interruption


def main() -> None:
    """Run the console script. Without arguments, print the help and exit with the code of a usage error."""
    code: int | None = None
    with signals.handled():
        try:
            from landscape.cli.application import answer

            code = answer(sys.argv[1:])
        except KeyboardInterrupt:
            code = signals.say_interrupted()
        except BaseException:
            if interruption.received() is None:
                raise
        if interruption.received() is not None:  # even if a library swallowed it, or made another error of it
            code = signals.say_interrupted()
    sys.exit(code)


def __getattr__(name: str) -> Any:
    if name == "app":
        from landscape.cli.application import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
