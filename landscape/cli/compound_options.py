"""Build the options of fields that take several: a preset, the options of a method, points of other tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from landscape.cli.command_option import CommandOption, flag_of
from landscape.cli.field_help import field_help
from landscape.cli.words import floats, join_words, value_type
from landscape.session.point_specs import ExternalSpec
from landscape.session.presets import NUMBERS, PRESETS, RATES_HELP, Preset, find_preset, in_presets
from landscape.session.request import PANEL_NUMBERS, Option
from quant.errors import UsageError
from quant.external.gauge import check_gauge

_RATES = "qaft_rates"


@dataclass(frozen=True)
class PresetOptions:
    """The preset, and the numbers that the user sets besides it."""

    field: str
    """Name of the field."""
    help: str
    """Its docstring."""
    default: Preset
    asked: Option
    """How the field is asked for."""

    @property
    def options(self) -> tuple[CommandOption, ...]:
        """The preset's own option, then one for each number."""
        preset = CommandOption(self.field, (flag_of(self.field),), str, self.default.name, self.help)
        return (preset, *map(self._number, self.asked.numbers))

    def read(self, values: Mapping[str, Any]) -> Preset:
        """Make the preset; see ``request_options.FieldOptions``."""
        preset = find_preset(values[self.field])
        for option in self.options[1:]:
            option.check(values[option.name])
        given = {key: values[self._name(key)] for key in self.asked.numbers}
        rates = given.pop(_RATES, None)
        changes = {number: value for key, value in given.items() if value is not None for number in NUMBERS[key].fields}
        if rates is not None:
            changes["rates"] = dict.fromkeys(preset.rates, floats(rates, flag_of(_RATES)))
        return replace(preset, **changes)

    def write(self, value: Preset, default: Preset) -> Iterator[str]:
        """Write the preset's name, and those numbers that are not its own."""
        preset, *numbers = self.options
        plain = PRESETS[value.name]
        if value.name != default.name:
            yield from preset.words(value.name)
        for key, option in zip(self.asked.numbers, numbers, strict=True):
            for own in _own_values(key, value, plain)[:1]:
                yield from option.words(own)

    def _name(self, key: str) -> str:
        return f"{self.field}_{key}"

    def _number(self, key: str) -> CommandOption:
        if key == _RATES:
            text = f"{RATES_HELP} {in_presets('rates')}"
            return CommandOption(self._name(key), (flag_of(key),), str, None, text, PANEL_NUMBERS)
        number = NUMBERS[key]
        text, least = f"{number.help} {number.in_presets}", max(number.least, self.asked.least or 0)
        return CommandOption(self._name(key), (number.flag,), int, None, text, PANEL_NUMBERS, least, number.most)


def _own_values(key: str, preset: Preset, plain: Preset) -> list[object]:
    """Return the values of one number that differ from those of the plain preset."""
    if key == _RATES:
        return [join_words(next(iter(preset.rates.values())))] if preset.rates != plain.rates else []
    pairs = ((getattr(preset, field), getattr(plain, field)) for field in NUMBERS[key].fields)
    return [own for own, usual in pairs if own != usual]


@dataclass(frozen=True)
class PartOptions:
    """Some fields of a dataclass that a request holds, such as GPTQ's options: an option for each."""

    field: str
    """Name of the field."""
    default: Any
    """The dataclass with all its defaults."""
    asked: Option
    """How the field is asked for; its ``parts`` are the options."""

    @property
    def options(self) -> tuple[CommandOption, ...]:
        """One option for each part."""
        text = field_help(type(self.default))
        return tuple(
            CommandOption(
                self._name(part), (flag,), self._type(part), getattr(self.default, part), text[part], self.asked.panel
            )
            for part, flag in self.asked.parts.items()
        )

    def read(self, values: Mapping[str, Any]) -> object:
        """Make the dataclass; see ``request_options.FieldOptions``."""
        return replace(self.default, **{part: values[self._name(part)] for part in self.asked.parts})

    def write(self, value: Any, default: Any) -> Iterator[str]:
        """Write the parts that differ from the default."""
        for part, option in zip(self.asked.parts, self.options, strict=True):
            if getattr(value, part) != getattr(default, part):
                yield from option.words(getattr(value, part))

    def _name(self, part: str) -> str:
        return f"{self.field}_{part}"

    def _type(self, part: str) -> Any:
        return value_type(get_type_hints(type(self.default))[part]).parsed


@dataclass(frozen=True)
class ExternalOptions:
    """Points of other tools, ``NAME=PATH`` as often as there are points, and one gauge for all of them."""

    field: str
    """Name of the field."""
    help: str
    """Its docstring."""
    asked: Option
    """How the field is asked for; its ``parts`` name the flag of the gauge."""

    @property
    def options(self) -> tuple[CommandOption, ...]:
        """The option of the points, then that of the gauge."""
        point = CommandOption(self.field, self.asked.flags, list[str], None, self.help, metavar=self.asked.metavar)
        flag, text = self.asked.parts["gauge"], field_help(ExternalSpec)["gauge"]
        return (point, CommandOption(f"{self.field}_gauge", (flag,), str, ExternalSpec.gauge, text))

    def read(self, values: Mapping[str, Any]) -> tuple[ExternalSpec, ...]:
        """Make the points; see ``request_options.FieldOptions``."""
        gauge = values[f"{self.field}_gauge"]
        check_gauge(gauge)
        return tuple(self._point(text, gauge) for text in values[self.field] or ())

    def write(self, value: tuple[ExternalSpec, ...], default: object) -> Iterator[str]:
        """Write the points, and their gauge if it is not the default."""
        option, gauge = self.options
        for point in value:
            yield from option.words(f"{point.name}={point.path}")
        for own in sorted({point.gauge for point in value} - {gauge.default}):  # one for all of them
            yield from gauge.words(own)

    def _point(self, text: str, gauge: Any) -> ExternalSpec:
        name, _, path = text.partition("=")
        if not name or not path:
            raise UsageError(f"expected {self.asked.metavar} in {self.asked.flags[0]}, got {text!r}")
        return ExternalSpec(name, Path(path), gauge)
