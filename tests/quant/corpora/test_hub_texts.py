"""Read data sets through the library, and refuse those that are no texts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from quant.checkpoints import hub
from quant.corpora import hub_texts
from quant.corpora.texts import read_texts
from quant.errors import CorpusError, UsageError
from tests.quant.corpora.documents import DOCUMENTS, articles, parquet


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder laid out as a data set of the Hub, and caches of its own."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "repository"
    (folder / "data").mkdir(parents=True)
    for split, documents in (("train", DOCUMENTS), ("test", ["The test."])):
        (folder / "data" / f"{split}-00000-of-00001.parquet").write_bytes(parquet(documents))
    return folder


def test_a_data_set_through_the_library(repository: Path) -> None:
    texts = read_texts(f"hf:{repository}")
    assert [a.removesuffix("\n\n") for s in ("train", "validation") for a in articles(texts[s])] == DOCUMENTS
    assert texts["test"].content == "The test."
    assert "no validation" in texts["validation"].note


def test_rows_that_are_lines_of_wikitext_have_its_articles(repository: Path) -> None:
    rows = [
        row for i in range(9) for row in ("", f" = Title {i} = \n", "", f" Paragraph of {i} . \n", f" More {i} . \n")
    ]
    for split in ("train", "test"):
        (repository / "data" / f"{split}-00000-of-00001.parquet").write_bytes(parquet(rows))
    texts = read_texts(f"hf:{repository}")
    assert texts["test"].content == "\n\n".join(rows)  # as GPTQ's evaluation joins them
    assert len(articles(texts["test"])) == 9


def test_unsuitable_data_sets_are_refused(repository: Path) -> None:
    with pytest.raises(CorpusError, match=r"expected a data set at hf:.*nothing") as caught:
        read_texts(f"hf:{repository}:nothing")
    assert "\n" not in str(caught.value)
    (repository / "data" / "train-00000-of-00001.parquet").unlink()
    (repository / "data" / "test-00000-of-00001.parquet").unlink()
    (repository / "data" / "train.txt").write_text("x")
    with pytest.raises(CorpusError, match=r"expected Parquet, Json, Csv, Arrow data in hf:.*, got Text"):
        read_texts(f"hf:{repository}")
    for name in ("hf:one", "hf:a/b/c"):
        with pytest.raises(UsageError, match=r"expected hf:org/name\[:config\]"):
            read_texts(name)
    with pytest.raises(UsageError, match="with --data-revision"):
        read_texts("tales", "main")
    with pytest.raises(UsageError, match="with --data-revision, got the folder"):
        read_texts(f"hf:{repository}", "main")


def test_without_a_network_the_hub_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    start = time.monotonic()
    with pytest.raises(CorpusError, match=r"org/name.*cannot be reached.*use a local file") as caught:
        read_texts("hf:org/name:config")
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 3


def test_a_folder_of_more_files_than_a_data_set_has_is_refused(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``hf:~`` looked at every file of a home, which took minutes."""
    monkeypatch.setattr(hub_texts, "MOST_FILES", 20)
    assert read_texts(f"hf:{repository}")
    for number in range(20):
        (repository / f"note-{number}.txt").touch()
    monkeypatch.setattr(hub_texts, "_load", None)  # nothing is looked at
    with pytest.raises(CorpusError, match=r"expected a data set of at most 20 files in the folder of hf:.*; name the"):
        read_texts(f"hf:{repository}")
