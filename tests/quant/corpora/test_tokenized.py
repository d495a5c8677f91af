"""Tokenize a text once, and again whenever anything changes that its tokens depend on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from quant.checkpoints import tokenizer_record as record_module
from quant.corpora import tokenized
from quant.corpora.text_files import Text, plain_text
from quant.corpora.tokenized import tokenize
from tests.tiny_tokenizer import tokenizer, words

LINES = "".join(f" \n = w{title} = \n \n {words([title] * 12)} \n" for title in (7, 8, 9))
TEXT = plain_text(LINES)


class Counted:
    """The backend of a tokenizer, which counts the texts that it cuts."""

    def __init__(self, backend: Tokenizer) -> None:
        self.backend, self.calls = backend, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def encode_batch(self, *args: Any, **options: Any) -> Any:
        self.calls += 1
        return self.backend.encode_batch(*args, **options)


def counted(fast: PreTrainedTokenizerFast) -> Counted:
    fast._tokenizer = Counted(fast._tokenizer)
    return fast._tokenizer


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenized, "SHORT", 10)


def refuse(line: str) -> None:
    raise AssertionError(line)


def ids(text: Text, own: Any, cache: Path, warn: Callable[[str], None] = refuse) -> list[int]:
    found, starts = tokenize({"test": text}, own, cache, warn)["test"]
    assert found.dtype == torch.int64
    assert starts is None or starts.dtype == torch.int64
    return found.tolist()


def kept(cache: Path) -> int:
    return len(list((cache / "tokens").iterdir()))


def test_the_second_time_the_tokenizer_is_not_called(tmp_path: Path) -> None:
    texts = {"train": plain_text(LINES * 3), "test": TEXT, "validation": plain_text("w3")}
    first = counted(tokenizer())
    fresh = tokenize(texts, tokenizer_of(first), tmp_path, refuse)
    assert (first.calls, kept(tmp_path)) == (3, 2)  # the shortest is not worth a file
    second = counted(tokenizer())
    again = tokenize(texts, tokenizer_of(second), tmp_path, refuse)
    assert second.calls == 1
    for split in texts:
        assert torch.equal(again[split][0], fresh[split][0])
        assert fresh[split][1] is None or torch.equal(again[split][1], fresh[split][1])
    assert fresh["train"][0].tolist() == tokenizer()(texts["train"].content, add_special_tokens=False)["input_ids"]
    assert [fresh["train"][0][i].item() for i in fresh["train"][1]][1:] == [2] * 8  # an article opens with "="


def tokenizer_of(backend: Counted) -> PreTrainedTokenizerFast:
    own = tokenizer()
    own._tokenizer = backend
    return own


def lower(own: PreTrainedTokenizerFast) -> None:
    own.backend_tokenizer.normalizer = normalizers.Lowercase()


def cut_digits(own: PreTrainedTokenizerFast) -> None:
    own.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits()]
    )


def add_one(own: PreTrainedTokenizerFast) -> None:
    own.add_tokens([AddedToken("w7 w7")])


def split_special(own: PreTrainedTokenizerFast) -> None:
    own.split_special_tokens = True


@pytest.mark.parametrize("change", [lower, cut_digits, add_one, split_special])
def test_another_tokenizer_makes_its_own_tokens(tmp_path: Path, change: Callable[[Any], None]) -> None:
    before = ids(TEXT, tokenizer(), tmp_path)
    own = tokenizer()
    change(own)
    expected = own(TEXT.content, add_special_tokens=False)["input_ids"]
    assert ids(TEXT, own, tmp_path) == expected
    assert kept(tmp_path) == 2
    assert expected != before or change in (lower, split_special)


def test_another_text_or_other_articles_are_other_files(tmp_path: Path) -> None:
    for number, text in enumerate([TEXT, plain_text(LINES + "w3"), Text(LINES, None), Text(LINES, (0, 5))], 1):
        found, starts = tokenize({"test": text}, tokenizer(), tmp_path, refuse)["test"]
        again, same = tokenize({"test": text}, tokenizer(), tmp_path, refuse)["test"]
        assert kept(tmp_path) == number
        assert torch.equal(found, again)
        assert (starts is None) == (text.starts is None) == (same is None)


@pytest.mark.parametrize("library", ["transformers", "tokenizers"])
def test_another_version_of_a_library_tokenizes_anew(
    tmp_path: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ids(TEXT, tokenizer(), tmp_path)
    found = record_module.distribution_version
    monkeypatch.setattr(record_module, "distribution_version", lambda name: "0" if name == library else found(name))
    own = tokenizer()
    backend = counted(own)
    assert ids(TEXT, own, tmp_path) == first
    assert (backend.calls, kept(tmp_path)) == (1, 2)


def test_another_version_of_our_code_tokenizes_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids(TEXT, tokenizer(), tmp_path)
    monkeypatch.setattr(tokenized, "TOKENS_VERSION", tokenized.TOKENS_VERSION + 1)
    ids(TEXT, tokenizer(), tmp_path)
    assert kept(tmp_path) == 2


@pytest.mark.parametrize("place", [-1, -40, 300])
def test_a_damaged_file_is_made_again_with_a_warning(tmp_path: Path, place: int) -> None:
    first = ids(TEXT, tokenizer(), tmp_path)
    (file,) = (tmp_path / "tokens").iterdir()
    content = bytearray(file.read_bytes())
    content[place] ^= 4
    file.write_bytes(content)
    lines: list[str] = []
    assert ids(TEXT, tokenizer(), tmp_path, lines.append) == first
    assert lines == [f"{file} is damaged: its text is tokenized again"]
    assert ids(TEXT, tokenizer(), tmp_path) == first


def test_a_cache_that_cannot_be_written_works_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("a file where the folder should be")
    lines: list[str] = []
    assert ids(TEXT, tokenizer(), tmp_path, lines.append) == ids(TEXT, tokenizer(), tmp_path / "other")
    (line,) = lines
    assert "tokenized anew at every run" in line
    assert "LANDSCAPE_CACHE" in line


class Own(PreTrainedTokenizerFast):
    """A tokenizer with a rule in Python."""

    def _encode_plus(self, text: Any, *args: Any, **options: Any) -> Any:
        return super()._encode_plus(text.upper(), *args, **options)


class Splitter:
    """A pre-tokenizer in Python."""

    def pre_tokenize(self, text: Any) -> None:
        text.split(lambda _, part: part.split(" ", "removed"))


def test_what_is_not_known_of_a_tokenizer_is_not_taken_for_known(tmp_path: Path) -> None:
    by_rule = Own(tokenizer_object=tokenizer().backend_tokenizer, unk_token="<unk>")
    by_part = tokenizer()
    by_part.backend_tokenizer.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(Splitter())
    at_random = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(BPE({"w": 0, "7": 1, "w7": 2}, [("w", "7")], dropout=0.5))
    )
    for own in (by_rule, by_part, at_random):
        ids(TEXT, own, tmp_path)
        assert not (tmp_path / "tokens").exists()


def test_tokens_of_a_slow_tokenizer_are_kept_under_its_files_and_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ids(TEXT, ByT5Tokenizer(), tmp_path)
    assert first == [byte + 3 for byte in LINES.encode()]  # three special tokens come before the bytes
    calls = []
    encode = tokenized.encode
    monkeypatch.setattr(tokenized, "encode", lambda *given: calls.append(given) or encode(*given))
    assert ids(TEXT, ByT5Tokenizer(), tmp_path) == first
    assert (len(calls), kept(tmp_path)) == (0, 1)
    other = ByT5Tokenizer()
    other.add_tokens([AddedToken("w7 w7")])
    assert len(ids(TEXT, other, tmp_path)) < len(first)
    assert (len(calls), kept(tmp_path)) == (1, 2)
