"""What every request holds: which model on which text, what is drawn, how it is computed, and where it is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from landscape.result import SubjectInfo
from landscape.subject import Subject, default_corpus
from quant.cache import cache_folder


@dataclass(frozen=True)
class Request:
    """What a user asks of any job; each has its own beside it."""

    model: str = "opt-nano"
    """Name, alias, folder or file: see ``quant.checkpoint``."""
    data: str | None = None
    """Corpus; by default ``tales`` for the embedded model and ``wikitext2`` for all others."""
    _: KW_ONLY
    seed: int = 0
    """Of all that is drawn: directions, windows, the order of QAFT's examples."""
    revision: str | None = None
    """Branch, tag or commit of a model on the Hub; None for its default branch."""
    dtype: str = "float32"
    """What the model is held and computed in; ``auto`` is the checkpoint's own."""
    device: str = "auto"
    """Where it is computed; ``auto`` is ``cuda`` where there is one, else ``cpu``."""
    store: Path | None = None
    """Cache folder; None for the user's."""

    @property
    def corpus(self) -> str:
        """Name of the corpus."""
        return self.data or default_corpus(self.model)

    @property
    def root(self) -> Path:
        """The cache folder."""
        return self.store or cache_folder()

    def info(self, subject: Subject, splits: Iterable[str]) -> SubjectInfo:
        """What results say of the model and the text, of which these splits were probed."""
        return SubjectInfo(
            model=self.model,
            fingerprint=subject.checkpoint.fingerprint,
            dtype=subject.checkpoint.dtype,
            dimension=subject.space.dimension,
            norm=subject.norm,
            chance=subject.chance,
            data=self.corpus,
            seq_len=subject.seq_len,
            windows={split: len(subject.windows[split]) for split in splits},
        )
