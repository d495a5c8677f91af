"""Build the options of a command from the fields of its request, and the request from their values.

A field of most types is one option. A preset, GPTQ's options and the points of other tools are several:
see ``landscape.cli.compound_options``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, Protocol, TypeVar, get_args, get_type_hints

from landscape.cli.command_option import CommandOption, flag_of
from landscape.cli.compound_options import ExternalOptions, PartOptions, PresetOptions
from landscape.cli.field_help import field_help
from landscape.cli.words import ValueType, join_words, value_type
from landscape.session.point_specs import ExternalSpec
from landscape.session.presets import Preset
from landscape.session.request import PANEL_GPTQ, PANEL_NUMBERS, PANEL_RAY, PANEL_RUN, Option, Request
from quant.methods.options import GPTQOptions

R = TypeVar("R", bound=Request)
PANELS = (None, PANEL_NUMBERS, PANEL_GPTQ, PANEL_RUN, PANEL_RAY)
"""The headings of ``--help``, in their order."""


class FieldOptions(Protocol):
    """The options of one field of a request."""

    @property
    def options(self) -> tuple[CommandOption, ...]:
        """The declarations, in the order of ``--help``."""

    def read(self, values: Mapping[str, Any]) -> Any:
        """Make the value of the field from the values of all options, by their names.

        Raises:
            UsageError: if they cannot be read.
        """

    def write(self, value: Any, default: Any) -> Iterator[str]:
        """Write the words that ask for a value; none for what is the default."""


@dataclass(frozen=True)
class PlainOption:
    """The only option of a field."""

    option: CommandOption
    type: ValueType
    default: Any
    """Default of the field."""
    unset: str | None
    """The word that asks for it too, if there is one."""

    @property
    def options(self) -> tuple[CommandOption, ...]:
        """The option alone."""
        return (self.option,)

    def read(self, values: Mapping[str, Any]) -> Any:
        """Make the value; see ``FieldOptions``."""
        value = values[self.option.name]
        if value is None or value == self.unset:
            return self.default
        self.option.check(value)
        return self.type.read(value, self.option.flag)

    def write(self, value: Any, default: Any) -> Iterator[str]:
        """Write the option if the value is not the default."""
        if value != default:
            yield from self.option.words(value if isinstance(value, bool) else self.type.write(value))


def request_options(kind: type[Request]) -> Mapping[str, FieldOptions]:
    """Return the options of each field of a request, in the order of ``--help``."""
    shown = [field for field in fields(kind) if not _asked(field).hidden]
    shown.sort(key=lambda field: _place(_asked(field)))
    hints = get_type_hints(kind)
    return {field.name: _field_options(field, hints[field.name], field_help(kind)[field.name]) for field in shown}


def read_request(kind: type[R], values: Mapping[str, Any]) -> R:
    """Make a request from the values of its options, by their names.

    Raises:
        UsageError: if they cannot be read, or do not go together.
    """
    return kind(**{name: options.read(values) for name, options in request_options(kind).items()})


def _asked(field: Field) -> Option:
    asked = field.metadata.get("option", Option())
    assert isinstance(asked, Option)
    return asked


def _place(option: Option) -> tuple[int, bool, int]:
    return PANELS.index(option.panel), not option.required, option.rank


def _field_options(field: Field, hint: Any, text: str) -> FieldOptions:
    asked, default = _asked(field), _default(field)
    if hint is Preset:
        return PresetOptions(field.name, text, default, asked)
    if hint is GPTQOptions:
        return PartOptions(field.name, default, asked)
    if ExternalSpec in get_args(hint):
        return ExternalOptions(field.name, text, asked)
    type_ = value_type(hint)
    written = default if default in (None, ()) or type_.parsed is not str else type_.write(default)
    option = CommandOption(
        name=field.name,
        flags=asked.flags or (flag_of(field.name),),
        kind=type_.parsed,
        default=... if asked.required else None if written == () else written,
        help=_help(text, asked),
        panel=asked.panel,
        least=asked.least,
        most=asked.most,
        metavar=asked.metavar,
    )
    is_list = type_.write is join_words
    return PlainOption(option, type_, default, asked.unset if is_list and default is None else None)


def _default(field: Field) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _help(text: str, option: Option) -> str:
    if option.choices is not None:
        text = f"{text.removesuffix('.')}: {option.choices}."
    return text if option.unset is None else f"{text}  [default: {option.unset}]"
