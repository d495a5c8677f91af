"""Record subject, cost and checks of a run: the parts that all results share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quant.coverage import Coverage
from quant.slot import Slot


@dataclass(frozen=True)
class SubjectInfo:
    """Model and text that were probed."""

    model: str
    """Name that the user gave."""
    fingerprint: str
    """Hash of the weights and the configuration."""
    dtype: str
    dimension: int
    """D of the weight space."""
    coverage: Coverage
    """Share of the blocks' weights that w holds."""
    norm: float
    """‖w‖."""
    chance: float
    """ln|V|, the NLL of a uniform guess."""
    data: str
    """Name of the corpus."""
    seq_len: int
    """Tokens per window."""
    windows: Mapping[str, int]
    """Number of probed windows by split."""
    architecture: str = ""
    """The configuration's ``model_type``, such as llama; empty in a run that was kept before it was."""
    revision: str | None = None
    """Branch, tag or commit of the model on the Hub that was asked for."""
    options: tuple[str, ...] = ()
    """Options of the command line for this model and text: see ``landscape.session.subject_words``."""
    slots: tuple[Slot, ...] = ()
    """The matrices of w; empty in a run that was kept before they were."""


@dataclass(frozen=True)
class ProbeCount:
    """Number of probes of a run."""

    total: int
    """Probes that the run needed."""
    cached: int
    """Probes that the store already held."""
    evaluated: int
    """Probes that the run evaluated."""


@dataclass(frozen=True)
class Check:
    """One check of a run, made or not: see ``landscape.health``."""

    name: str
    """Name of the check, the same in every run."""
    passed: bool | None
    """Whether it passed; None if it was not judged, for the reason that ``words`` give."""
    words: str
    """Meaning in a sentence or two; for a failed check also the remedy."""


@dataclass(frozen=True)
class RunRecord:
    """Cost, settings and checks of one run."""

    probes: ProbeCount
    seconds: float
    """Wall time."""
    store: str
    """Folder of the cache."""
    settings: Mapping[str, object]
    """Settings of the run: directions, seed, preset, methods, versions."""
    health: tuple[Check, ...]
    """The checks of the run."""
