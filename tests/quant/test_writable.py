from __future__ import annotations

from pathlib import Path

import pytest

from quant.errors import UsageError
from quant.writable import check_writable

WANTED = "a folder for pages"


def test_a_new_folder_is_made_and_nothing_stays_in_one(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "pages", WANTED)
    assert list((tmp_path / "new" / "pages").iterdir()) == []
    check_writable(tmp_path / "new" / "pages", WANTED)
    (tmp_path / "new" / "old.html").write_text("mine")
    check_writable(tmp_path / "new", WANTED)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["old.html", "pages"]


def test_a_folder_that_is_filled_under_another_name_is_not_made_yet(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "model", WANTED, inside=tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_what_cannot_be_written_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UsageError) as refused:
        check_writable(file, WANTED)
    assert str(refused.value) == f"expected {WANTED}, got '{file}', which is a file; choose another"
    with pytest.raises(UsageError, match=f"got '{file}/below/a', where '{file}' is a file; choose another"):
        check_writable(file / "below" / "a", WANTED)
    assert file.read_text() == "mine"

    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    with pytest.raises(UsageError, match=f"cannot write to '{tmp_path}': No space left on device; choose another"):
        check_writable(tmp_path, WANTED)
