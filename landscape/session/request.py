"""What every request holds: which model on which text, what is drawn, how it is computed, and where it is kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from landscape.session.presets import Preset
from landscape.session.progress import Progress
from landscape.session.subject import Subject, default_corpus, prepare
from landscape.survey.result import SubjectInfo
from quant.cache import cache_folder
from quant.checkpoints.checkpoint import Checkpoint


@dataclass(frozen=True)
class Request:
    """What a user asks of any job; each has its own beside it."""

    model: str = "opt-nano"
    """Name, alias, folder or file: see ``quant.checkpoints.checkpoint``."""
    data: str | None = None
    """Corpus; by default ``tales`` for the embedded model and ``wikitext2`` for all others."""
    _: KW_ONLY
    seed: int = 0
    """Of all that is drawn: directions, windows, the order of QAFT's examples."""
    exclude: tuple[str, ...] = ()
    """Globs over names of matrices that stay outside the weight space, beside routers."""
    revision: str | None = None
    """Branch, tag or commit of a model on the Hub; None for its default branch."""
    dtype: str = "float32"
    """What the model is held and computed in; ``auto`` is the checkpoint's own."""
    device: str = "auto"
    """Where it is computed; ``auto`` is ``cuda`` where there is one, else ``cpu``."""
    store: Path | None = None
    """Cache folder; None for the user's."""
    data_revision: str | None = None
    """Branch, tag or commit of a corpus ``hf:…``; None for its default branch."""
    bos: bool = False
    """Whether the tokenizer's beginning-of-text token is prepended to every window; it is not scored."""

    @property
    def corpus(self) -> str:
        """Name of the corpus."""
        return self.data or default_corpus(self.model)

    @property
    def root(self) -> Path:
        """The cache folder."""
        return self.store or cache_folder()

    @property
    def text_settings(self) -> dict[str, object]:
        """How the text is read, where that is not the default, for the record of a run."""
        bos = {"beginning-of-text token": "before every window"} if self.bos else {}
        return {**bos, **({"data revision": self.data_revision} if self.data_revision else {})}

    def subject(self, checkpoint: Checkpoint, preset: Preset, methods: Sequence[str], progress: Progress) -> Subject:
        """The model with the text of the request: see ``landscape.session.subject.prepare``."""
        return prepare(
            checkpoint, self.corpus, preset, methods, self.seed, self.root,
            revision=self.data_revision, bos=self.bos, warn=progress.warn,
        )  # fmt: skip

    def info(self, subject: Subject, splits: Iterable[str]) -> SubjectInfo:
        """What results say of the model and the text, of which these splits were probed."""
        return SubjectInfo(
            model=self.model,
            fingerprint=subject.checkpoint.fingerprint,
            dtype=subject.checkpoint.dtype,
            dimension=subject.space.dimension,
            coverage=subject.checkpoint.coverage,
            norm=subject.norm,
            chance=subject.chance,
            data=self.corpus,
            seq_len=subject.seq_len,
            windows={split: len(subject.windows[split]) for split in splits},
        )
