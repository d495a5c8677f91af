"""Record what was measured and what it took: the parts that all results have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quant.coverage import Coverage


@dataclass(frozen=True)
class SubjectInfo:
    """What was probed."""

    model: str
    """As the user named it."""
    fingerprint: str
    """Hash of its weights and configuration."""
    dtype: str
    dimension: int
    """D of the weight space."""
    coverage: Coverage
    """How much of the blocks' weights it holds."""
    norm: float
    """‖w‖."""
    chance: float
    """ln|V|, the NLL of a uniform guess."""
    data: str
    """Name of the corpus."""
    seq_len: int
    """Tokens per window."""
    windows: Mapping[str, int]
    """How many windows of each split were probed."""
    articles: Mapping[str, int | None] = field(default_factory=dict)
    """How many articles the windows of each split lie in; None if not known, each window is then taken for
    independent."""


@dataclass(frozen=True)
class ProbeCount:
    """The work of a run."""

    total: int
    """Probes the run needed."""
    cached: int
    """Of these, how many the store already held."""
    evaluated: int
    """Of these, how many were evaluated now."""


@dataclass(frozen=True)
class Check:
    """One thing about a run that was checked, or could not be: see ``landscape.health``."""

    name: str
    """What it is about, the same in every run."""
    passed: bool | None
    """None: not judged, for the reason that ``words`` give."""
    words: str
    """What it means, in a sentence or two; of a failed check also what to do."""


@dataclass(frozen=True)
class RunRecord:
    """What one run took, and whether it was sound."""

    probes: ProbeCount
    seconds: float
    """Wall time."""
    store: str
    """Folder of the cache."""
    settings: Mapping[str, object]
    """How it was made: directions, seed, preset, methods, versions."""
    health: tuple[Check, ...]
    """The checks of the run."""
