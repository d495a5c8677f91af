"""Fixtures shared by all tests of landscape: tokenized texts, and the saved trap model with its anatomy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from landscape.anatomy.dissect import dissect
from landscape.anatomy.request import AnatomyRequest
from landscape.anatomy.result import AnatomyResult
from quant.corpora import tokenized
from quant.corpora.text_files import Text
from tests.landscape.trap import ByHand, asked, save_trap


@pytest.fixture(scope="package", autouse=True)
def tokens_of_all_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tokenize a text once for all caches, of which nearly every test has a new one: this takes a second each.

    The file of an earlier cache is put into the new one and read there as any other; its name is the hash of all that
    determines it.
    """
    known, kept = tmp_path_factory.mktemp("tokens"), tokenized._kept

    def shared(
        text: Text, tokenizer: PreTrainedTokenizerBase, folder: Path, name: str, warn: Callable[[str], None]
    ) -> tokenized.Tokens:
        if not os.path.isdir(known):  # for another user, as whom a test acts
            return kept(text, tokenizer, folder, name, warn)
        own, earlier = folder / f"{name}.safetensors", known / f"{name}.safetensors"
        if earlier.exists() and not folder.exists():
            folder.mkdir(parents=True)
        if earlier.exists() and not own.exists():
            shutil.copy(earlier, own)
        found = kept(text, tokenizer, folder, name, warn)
        if own.exists() and not earlier.exists():
            shutil.copy(own, earlier)
        return found

    tokenized._kept = shared
    yield
    tokenized._kept = kept


@pytest.fixture(scope="session")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trap") / "trap"
    save_trap(path)
    return path


@pytest.fixture(scope="session")
def dissection(trap: Path, tmp_path_factory: pytest.TempPathFactory) -> AnatomyRequest:
    return asked(trap, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def dissected(dissection: AnatomyRequest) -> AnatomyResult:
    return dissect(dissection)


@pytest.fixture(scope="session")
def by_hand(trap: Path) -> ByHand:
    return ByHand(trap)
