"""Find the name by which other tools load a model: an id on the Hub, or a folder, with the command that makes one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath

from quant.checkpoints.embedded import EMBEDDED
from quant.checkpoints.names import ALIASES, WHEEL
from quant.printable import shell_command

_ON_HUB = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class ModelSource:
    """A model as other tools load it."""

    name: str
    """Id on the Hub, or folder."""
    revision: str | None = None
    """Branch, tag or commit on the Hub; None for its default branch."""
    on_hub: bool = False
    """True if ``name`` is an id on the Hub; tools that read folders need a download first."""
    notes: tuple[str, ...] = ()
    """The command that makes the folder, where there is none yet."""

    @property
    def folder(self) -> str:
        """The folder, or that into which ``hf download`` is asked to write."""
        return model_name(self.name) if self.on_hub else self.name

    @property
    def file(self) -> str:
        """The beginning of the names of files that are made of it."""
        return model_name(self.name)


def model_source(model: str, revision: str | None = None) -> ModelSource:
    """Return the name by which other tools load a model.

    Args:
        model: Name as landscape takes it: id, short name, folder, GGUF file, or a model that comes with the package.
        revision: Branch, tag or commit on the Hub.
    """
    if model in (EMBEDDED, WHEEL) or model.lower().endswith(".gguf"):
        return _made(model)
    if Path(model).expanduser().is_dir():
        return ModelSource(model)
    name = ALIASES.get(model, model)
    return ModelSource(name, revision, on_hub=_ON_HUB.fullmatch(name) is not None)


def model_name(model: str) -> str:
    """Return the last part of a model's name on the Hub, or of its folder."""
    return model.rstrip("/\\").replace("\\", "/").rpartition("/")[2]


def _made(model: str) -> ModelSource:
    """Name a folder that is still to be made of what only landscape reads."""
    stem = PurePath(model_name(model)).stem if model.lower().endswith(".gguf") else model
    folder = f"{stem}-hf"
    script = "; ".join(
        [
            "from quant.checkpoints.checkpoint import load_checkpoint as load",
            f"found = load({model!r})",
            f"[each.save_pretrained({folder!r}) for each in (found.model, found.tokenizer)]",
        ]
    )
    words = f"Other tools read a folder of transformers, not {model}. Make {folder} of it first"
    return ModelSource(folder, notes=(f"{words}: {shell_command(['python', '-c', script])}",))
