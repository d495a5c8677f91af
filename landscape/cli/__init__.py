"""The command ``landscape``: thin, and quick to answer, because everything heavy is imported inside the commands."""

from __future__ import annotations

import sys

import typer

from landscape.cli.advise import advise
from landscape.cli.anatomy import anatomy
from landscape.cli.curvature import curvature
from landscape.cli.failures import USAGE, tell
from landscape.cli.probe import probe
from landscape.cli.quantize import quantize
from landscape.cli.radius import radius
from landscape.cli.usage import sentence

app = typer.Typer(
    name="landscape",
    help="Is rounding enough? Measure the loss landscape around a quantized language model.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(advise)
app.command()(probe)
app.command()(radius)
app.command()(curvature)
app.command()(anatomy)
app.command()(quantize)


def main() -> None:
    """Entry point of the console script. Without a word it helps, and still exits as for a wrong request."""
    words = sys.argv[1:]
    try:
        code = app(words or ["--help"], prog_name="landscape", standalone_mode=False)
    except typer.TyperException as error:
        tell(sentence(error))
        code = error.exit_code
    sys.exit(code if words else USAGE)
