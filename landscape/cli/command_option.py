"""Declare one option of a command to typer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

import typer

from landscape.session.bounds import Most


@dataclass(frozen=True)
class CommandOption:
    """One option of a command: its flags, its help, and what typer checks."""

    name: str
    """Its name among the options of the command."""
    flags: tuple[str, ...]
    """``--directions``, ``-d``."""
    kind: Any
    """Type of the value."""
    default: Any
    """Its value where the option is left out; ``...`` where it must be given."""
    help: str
    panel: str | None = None
    """The heading of ``--help`` that it stands under; None for the first."""
    least: int | None = None
    """Its smallest value."""
    most: Most | None = None
    """Largest value accepted, with the reason."""
    metavar: str | None = None
    """Sample of its value."""

    @property
    def flag(self) -> str:
        """The flag that errors name."""
        return self.flags[0]

    @property
    def parameter(self) -> Parameter:
        """The parameter of a function from which typer makes the option."""
        optional = self.default is None
        declared: Any = typer.Option(
            self.default,
            *self._declarations(),
            help=self.help.replace("*", r"\*"),  # typer reads Markdown
            rich_help_panel=self.panel,
            min=self.least,
            metavar=self.metavar,
            show_default=not optional,
        )
        annotation = self.kind | None if optional else self.kind
        return Parameter(self.name, Parameter.KEYWORD_ONLY, default=declared, annotation=annotation)

    def check(self, value: object) -> None:
        """Check that a number that was given is not too large.

        Raises:
            UsageError: if it is.
        """
        if self.most is not None and isinstance(value, int):
            self.most.check(value, self.flag)

    def words(self, value: object) -> Iterator[str]:
        """Write the option with a value."""
        if isinstance(value, bool):
            yield self.flag if value else _negative(self.flag)
        else:
            yield from (self.flag, str(value))

    def _declarations(self) -> tuple[str, ...]:
        """Return the flags, a switch that is not off by default with its negative."""
        if self.kind is bool and self.default is not False:
            return (f"{self.flag}/{_negative(self.flag)}", *self.flags[1:])
        return self.flags


def _negative(flag: str) -> str:
    return flag.replace("--", "--no-", 1)


def flag_of(name: str) -> str:
    """Return the flag of a name: ``--seq-len`` for ``seq_len``."""
    return f"--{name.replace('_', '-')}"
