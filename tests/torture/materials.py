"""Make the models and texts that the commands work on, small enough for a command of about a second."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.torture.forks import Settings, run_work

_VOCABULARY = 61  # words of ``tests.tiny``
_SPLITS = {"train": 2500, "validation": 900, "test": 600}
"""Splits of the texts, with their number of words."""


@dataclass(frozen=True)
class Materials:
    """Where the models and texts are."""

    folder: Path

    @property
    def llama(self) -> Path:
        """Folder of a Llama of two blocks, with its tokenizer."""
        return self.folder / "llama"

    @property
    def opt(self) -> Path:
        """Folder of an OPT of two blocks, with the same tokenizer."""
        return self.folder / "opt"

    @property
    def gguf(self) -> Path:
        """A GGUF file of another Llama."""
        return self.folder / "gguf" / "tiny.gguf"

    @property
    def words(self) -> Path:
        """Text for the folders: a folder of three splits."""
        return self.folder / "words"

    @property
    def characters(self) -> Path:
        """Text for the GGUF file: a folder of three splits."""
        return self.folder / "characters"


def make_materials(folder: Path) -> Materials:
    """Make everything in a fork, unless it is there."""
    materials = Materials(folder)
    done = folder / "done"
    if not done.exists():
        outcome = run_work(lambda: _make(materials), Settings(folder, folder / "cache", name="make"))
        if outcome.code != 0:
            raise RuntimeError(f"expected to make models in {folder}, got: {outcome.err}")
        done.touch()
    return materials


def _make(materials: Materials) -> None:
    from tests import tiny  # torch reads how its threads wait when it is imported: see ``forks.load``
    from tests.quant.checkpoints import test_gguf_file
    from tests.tiny_tokenizer import tokenizer, words

    for model, path in ((tiny.llama(), materials.llama), (tiny.opt(), materials.opt)):
        _train(model)
        model.save_pretrained(path)  # type: ignore[operator]
        tokenizer().save_pretrained(path)
    materials.gguf.parent.mkdir(parents=True)
    test_gguf_file.write(materials.gguf, source=_train(test_gguf_file.model()))
    for split, count in _SPLITS.items():
        ids = _ids(split, count)
        for folder, text in ((materials.words, words(ids)), (materials.characters, "".join(chr(30 + i) for i in ids))):
            folder.mkdir(exist_ok=True)
            (folder / f"{split}.txt").write_text(text, encoding="utf-8")


def _ids(split: str, count: int) -> list[int]:
    """Draw tokens, the first of which are by far the most frequent, so that there is something to learn."""
    draw = random.Random(split)
    return [min(3 + int(draw.expovariate(0.12)), _VOCABULARY - 1) for _ in range(count)]


def _train(model: Any) -> Any:
    """Train a model for a moment: a random one is no better than chance, and there is no basin to measure."""
    import torch

    batches = torch.tensor(_ids("learning", 40 * 8 * 12)).reshape(40, 8, 12)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for batch in batches:
        optimizer.zero_grad()
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
    return model
