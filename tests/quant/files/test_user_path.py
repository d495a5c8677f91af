"""Test that a path that no file can have is refused in a sentence, wherever a path is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from quant.checkpoints.checkpoint import load_checkpoint
from quant.checkpoints.export import check_target
from quant.corpora.texts import read_texts
from quant.errors import UsageError
from quant.external.load import load_external
from quant.files.cache import ENVIRONMENT_VARIABLE, cache_folder, check_writable
from quant.files.user_path import of_windows, user_path

IMPOSSIBLE = {
    "a" * 5000: "of 5000 letters, which the system refuses: File name too long",
    "/tmp/" + "a/" * 3000: "of 6005 letters, which the system refuses",
    "a\0b": "which no file can have: embedded null byte",
    "~nobody-has-this-name/x": "Could not determine home directory; write it out",
    "": "got an empty text",
}


@pytest.mark.parametrize("text", IMPOSSIBLE, ids=lambda text: repr(text[:6]))
def test_it_is_refused_with_its_option(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=IMPOSSIBLE[text]) as raised:
        user_path(text, "--model")
    assert "as --model" in str(raised.value)
    assert len(str(raised.value)) < 250


@pytest.mark.parametrize("text", list(IMPOSSIBLE)[:4], ids=lambda text: repr(text[:6]))
def test_every_taker_of_a_path_refuses_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for taker in (load_checkpoint, read_texts, lambda t: read_texts(f"hf:{t}")):
        with pytest.raises(UsageError, match=r"expected a path as --(model|data), got"):
            taker(text)
    for folder in (check_target, lambda path: check_writable(path, "a folder to write to as --output")):
        with pytest.raises(UsageError, match=r"expected a path as --(export|output), got"):
            folder(Path(text))
    if "\0" not in text:  # no variable can hold it
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, text)
        with pytest.raises(UsageError, match=f"expected a path as {ENVIRONMENT_VARIABLE}, got"):
            cache_folder()


def test_a_path_with_nothing_there_is_one(tmp_path: Path) -> None:
    assert user_path(tmp_path / "a" / "b", "--store") == tmp_path / "a" / "b"
    assert user_path("~", "--store") == Path.home()


@pytest.mark.parametrize("text", [r"C:\Users\me\opt-125m", "D:/models/gpt2", r"\\server\models\m", r"models\tales"])
def test_a_path_of_windows_is_told_as_that(text: str, tmp_path: Path) -> None:
    for taker in (load_checkpoint, read_texts, lambda text: load_external(Path(text), None, "x")):
        with pytest.raises(UsageError, match="no such file or folder, and it looks like a path of Windows") as raised:
            taker(text)
        assert "did you mean" not in str(raised.value)
        assert text in str(raised.value)
    assert of_windows("org/name") == of_windows("opt-125m") == of_windows("/c/d:e") == ""
