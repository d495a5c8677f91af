"""Random requests, as the command line can ask for them."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from landscape.anatomy.request import GROUPINGS
from landscape.anatomy.size_limit import SizeLimit
from landscape.estimators.loss_limit import Limit
from landscape.session.bounds import LEAST_DISTANCE, MOST_DISTANCE, MOST_RATE
from landscape.session.point_methods import METHODS
from landscape.session.point_specs import ExternalSpec
from landscape.session.presets import NUMBERS, PRESETS, Preset
from landscape.session.request import SPLITS, Request
from landscape.session.work_shard import WorkShard
from quant.errors import UsageError
from quant.external.gauge import GAUGES
from quant.float_format import FLOAT_FORMATS
from quant.methods.options import GPTQOptions

CHARACTERS = st.characters(exclude_categories=("Cs", "Cc"))
TEXT = st.text(CHARACTERS, min_size=1, max_size=12)
WORD = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters=","), max_size=8).map(str.strip)
PATHS = TEXT.filter(lambda name: not name.startswith("~")).map(Path)  # that would be a home
BITS = st.integers(2, 8)
WIDTHS = BITS | st.sampled_from(list(FLOAT_FORMATS))
ABOVE_ZERO = st.floats(1e-300, 1e300)
SCALES = ("exact", "histogram", "histogram-torch", "absmax", "mse")
GRANULARITIES = ("tensor", "channel", "group:32", "group:128")


def several(entries: st.SearchStrategy, least: int = 0) -> st.SearchStrategy:
    """Each entry once, as in a list on the command line."""
    return st.lists(entries, min_size=least, max_size=4, unique=True).map(tuple)


def some_of(names: Any) -> st.SearchStrategy:
    return several(st.sampled_from(list(names)))


@st.composite
def external(draw: st.DrawFn) -> tuple[ExternalSpec, ...]:
    gauge = draw(st.sampled_from(GAUGES))
    names = draw(several(TEXT.filter(lambda name: "=" not in name)))
    return tuple(ExternalSpec(name, draw(PATHS), gauge) for name in names)


@st.composite
def gptq(draw: st.DrawFn) -> GPTQOptions:
    inputs = draw(st.sampled_from(["quantized", "fp"]))
    sequential = inputs == "quantized" and draw(st.booleans())
    return GPTQOptions(
        inputs=inputs, true_sequential=sequential, act_order=draw(st.booleans()), rtn_candidate=draw(st.booleans())
    )


@st.composite
def presets(draw: st.DrawFn, numbers: tuple[str, ...], least: int) -> Preset:
    """A preset, with other values for some of the numbers that its command can set."""
    preset = draw(st.sampled_from(list(PRESETS.values())))
    for number in draw(some_of(numbers)):
        if number == "qaft_rates":
            rates = draw(several(st.floats(1e-300, MOST_RATE), least=1))
            preset = replace(preset, rates=dict.fromkeys(preset.rates, rates))
        else:
            value = draw(st.integers(max(least, NUMBERS[number].least), 300))
            preset = replace(preset, **dict.fromkeys(NUMBERS[number].fields, value))
    return preset


BIT_VALUES: dict[str, st.SearchStrategy] = {
    "Width": WIDTHS,
    "tuple[Width, ...]": several(WIDTHS, least=1),
    "tuple[int, ...]": several(BITS, least=1),
}
"""By the type of the field ``bits``."""
VALUES: dict[str, st.SearchStrategy] = {
    "model": TEXT,
    "models": several(WORD.filter(bool), least=1),
    "texts": st.just(()) | WORD.filter(bool).map(lambda text: (text,)),
    "name": st.none() | TEXT,
    "dry_run": st.booleans(),
    "layers": st.booleans(),
    "loss": st.sampled_from(["nll", "kl"]),
    "data": st.none() | TEXT,
    "exclude": several(WORD.filter(bool)),
    "revision": st.none() | TEXT,
    "seed": st.integers(0, 2**40),
    "device": TEXT,
    "matmul_precision": st.sampled_from(["highest", "high"]),
    "device_map": st.none() | st.just("auto"),
    "dtype": st.sampled_from(["float32", "float16", "auto"]),
    "store": st.none() | PATHS,
    "data_revision": st.none() | TEXT,
    "bos": st.booleans(),
    "batch": st.none() | st.integers(1, 99),
    "split": st.sampled_from(SPLITS),
    "seq_len": st.none() | st.integers(2, 4096),
    "precision": st.floats(0, 1, exclude_min=True, exclude_max=True),
    "minutes": st.none() | ABOVE_ZERO,
    "family": TEXT,
    "pairs": st.booleans(),
    "gptq": gptq(),
    "method": st.sampled_from(list(METHODS)),
    "methods": some_of(METHODS),
    "scale": st.sampled_from(SCALES),
    "scales": some_of(SCALES),
    "granularity": st.sampled_from(GRANULARITIES),
    "granularities": some_of(GRANULARITIES),
    "symmetric": st.booleans(),
    "directions": st.integers(2, 99),
    "windows": st.integers(2, 99),
    "top": st.booleans(),
    "groups": some_of(GROUPINGS),
    "layer_radii": st.none() | st.booleans(),
    "plan_bits": several(BITS),
    "limit": st.integers(1, 999).flatmap(
        lambda amount: st.sampled_from([f"ppl+{amount / 10}%", f"nll+{amount / 1000:f}"]).map(Limit.parse)
    ),
    "size": st.none() | st.integers(1, 1600).map(lambda bits: SizeLimit.parse(f"{bits / 100}bpw")),
    "fused": st.booleans(),
    "confidence": st.floats(0.5, 1, exclude_min=True, exclude_max=True),
    "net": st.booleans(),
    "radius": st.booleans(),
    "explain": st.booleans(),
    "external": external(),
    "plane": st.booleans(),
    "lambdas": st.none() | several(st.floats(LEAST_DISTANCE, MOST_DISTANCE), least=1),
    "export": PATHS,
    "engine": st.sampled_from(["inline", "ray"]),
    "ray_address": st.none() | TEXT,
    "ray_workers": st.none() | st.integers(1, 99),
    "ray_gpus": st.none() | ABOVE_ZERO,
    "shard": st.none() | st.integers(1, 99).flatmap(lambda n: st.builds(WorkShard, st.integers(1, n), st.just(n))),
}


@st.composite
def requests(draw: st.DrawFn, kind: type[Request]) -> Request:
    """A request of one kind with some of its fields set; one that does not go together is drawn again."""
    chosen: dict[str, Any] = {}
    for field in fields(kind):
        option = field.metadata.get("option")
        if option is not None and option.hidden:
            continue
        if not (option is not None and option.required) and draw(st.booleans()):
            continue
        if field.name == "preset":
            chosen["preset"] = draw(presets(option.numbers, option.least or 0))
        elif field.name == "bits":
            chosen["bits"] = draw(BIT_VALUES[str(field.type)])
        else:
            chosen[field.name] = draw(VALUES[field.name])
    try:
        return kind(**chosen)
    except UsageError:
        assume(False)
        raise
