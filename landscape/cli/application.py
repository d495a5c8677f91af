"""Put the commands of ``landscape`` together; heavy modules are imported inside them, so that ``--help`` is quick."""

from __future__ import annotations

from importlib.metadata import version as distribution_version
from typing import Annotated

import typer

from landscape.cli.cache_commands import cache_app
from landscape.cli.commands import COMMANDS
from landscape.cli.errors import USAGE, print_error, refusal
from landscape.cli.export_command import export
from landscape.cli.plot_command import plot
from landscape.cli.report_command import report
from landscape.cli.run import command_function
from landscape.cli.study_file import expanded
from quant.errors import UsageError

app = typer.Typer(
    name="landscape",
    help="Is rounding enough? Measure the loss landscape around a quantized language model.\n\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage; 130, 143 or 129 after Ctrl-C, SIGTERM or SIGHUP.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in COMMANDS:
    app.command(_command.name, help=_command.help)(command_function(_command))


def _show_version(asked: bool) -> None:
    if asked:
        print(f"quant-landscape {distribution_version('quant-landscape')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options before the name of a command."""


app.command("export")(export)
app.command("plot")(plot)
app.command("report")(report)
app.add_typer(cache_app)


def answer(words: list[str]) -> int:
    """Run the command that the words name, and return its exit code. Without words, print the help of a usage error."""
    try:
        asked = expanded(words)
    except UsageError as error:
        print_error(str(error))
        return error.exit_code
    try:
        code: int | None = app(asked or ["--help"], prog_name="landscape", standalone_mode=False)
    except typer.TyperException as error:
        print_error(refusal(error))
        return error.exit_code if words else USAGE
    return (code or 0) if words else USAGE
