"""An error of the system is said in its words, with the owner of what forbids it."""

from __future__ import annotations

import errno
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from quant.errors import CheckpointError, CorpusError, StoreError, ToolkitError, UsageError
from quant.files.cache import atomic_path, check_kept, check_writable
from quant.files.system_errors import is_forbidden, owner_name, reason
from tests.second_user import ALICE, BOB, TEAM, give, needs_root, not_root, reachable, user

__all__ = ["reachable"]
ME = pwd.getpwuid(os.geteuid()).pw_name


def said(act: Callable[[], object], path: Path) -> str:
    with pytest.raises(OSError) as caught:  # noqa: PT011  every kind of it
        act()
    return reason(caught.value, path)


def test_other_errors_keep_the_words_of_the_system(tmp_path: Path) -> None:
    assert said(lambda: (tmp_path / "none").read_text(), tmp_path / "none") == "No such file or directory"
    assert reason(OSError("unable to read (errno = 5, more)\nand more"), tmp_path) == os.strerror(errno.EIO)
    assert reason(OSError("first\nsecond"), tmp_path) == "first"
    assert reason(OSError(-2, "Name not known"), tmp_path) == "[Errno -2] Name not known"
    assert reason(ValueError("no JSON"), tmp_path) == "no JSON"


def test_a_file_that_may_not_be_read(reachable: Path) -> None:
    path = reachable / "file"
    path.touch()
    path.chmod(0o000)
    with not_root():
        assert said(path.read_text, path) == f"Permission denied: it belongs to {ME}, mode 0000"


def test_a_folder_that_may_not_be_entered_is_named(reachable: Path) -> None:
    inner = reachable / "closed" / "inner"
    inner.mkdir(parents=True)
    inner.parent.chmod(0o600)
    with not_root():
        expected = f"Permission denied: {inner.parent} belongs to {ME}, mode 0600"
        for path in (inner, inner / "a" / "b"):
            assert said(lambda path=path: os.listdir(path), path) == expected


def test_of_what_does_not_exist_the_nearest_folder_is_named(reachable: Path) -> None:
    folder = reachable / "folder"
    folder.mkdir()
    folder.chmod(0o555)
    with not_root():
        for path in (folder / "a", folder / "a" / "b" / "c"):
            words = said(lambda path=path: path.mkdir(parents=True), path)
            assert words == f"Permission denied: {folder} belongs to {ME}, mode 0555"
        assert said((folder / "a").mkdir, folder) == f"Permission denied: it belongs to {ME}, mode 0555"


def test_the_folder_is_named_where_a_file_may_not_be_removed(reachable: Path) -> None:
    path = reachable / "folder" / "file"
    path.parent.mkdir()
    path.touch()
    path.parent.chmod(0o555)
    with not_root():
        assert said(path.unlink, path) == f"Permission denied: {path.parent} belongs to {ME}, mode 0555"


def test_a_link_names_what_it_leads_to(reachable: Path) -> None:
    path = reachable / "closed" / "file"
    path.parent.mkdir()
    path.touch()
    (reachable / "link").symlink_to(path)
    path.parent.chmod(0o000)
    with not_root():
        link = reachable / "link"
        assert said(link.read_text, link) == f"Permission denied: {path.parent} belongs to {ME}, mode 0000"


def test_a_disk_that_may_only_be_read_is_named(tmp_path: Path) -> None:
    mount = next(place for place in (tmp_path, *tmp_path.parents) if os.path.ismount(place))
    error = OSError(errno.EROFS, "Read-only file system")
    assert reason(error, tmp_path / "none") == f"Read-only file system: {mount} is mounted so"
    assert is_forbidden(error)
    assert not is_forbidden(OSError(errno.ENOSPC, "full"))


@needs_root
def test_the_owner_is_a_number_where_it_has_no_name(reachable: Path) -> None:
    path = reachable / "file"
    path.touch()
    path.chmod(0o600)
    give(path, ALICE)
    assert owner_name(path.stat()) == str(ALICE)
    with user(BOB):
        assert said(path.read_text, path) == f"Permission denied: it belongs to {ALICE}, mode 0600"


@needs_root
def test_a_sticky_folder_is_the_reason(reachable: Path) -> None:
    path = reachable / "file"
    path.touch()
    give(path, ALICE)
    reachable.chmod(0o1777)
    with user(BOB):
        words = said(path.unlink, path)
    owner = f"it belongs to {ALICE}, mode 0644"
    assert words == f"Operation not permitted: {owner}, in a folder where only owners rename and remove"


def refused(kind: type[ToolkitError], act: Callable[[], object]) -> str:
    with not_root(), pytest.raises(kind) as caught:
        act()
    return str(caught.value)


def write(path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("whole")


def test_every_check_of_a_folder_names_the_owner(reachable: Path) -> None:
    folder = reachable / "folder"
    folder.mkdir()
    folder.chmod(0o555)
    own = f"belongs to {ME}, mode 0555"
    words = refused(StoreError, lambda: write(folder / "file"))
    assert words == (
        f"expected to write {folder / 'file'}, got: Permission denied: {folder} {own}; "
        "ask its owner for permission to write, or set LANDSCAPE_CACHE to another folder"
    )
    assert f"cannot write to {folder}: Permission denied: it {own}" in refused(StoreError, lambda: check_kept(folder))
    for wanted in (folder, folder / "new"):
        words = refused(UsageError, lambda wanted=wanted: check_writable(wanted, "a folder"))
        assert words.endswith(f"{own}; choose another"), words


def test_a_model_and_a_text_that_may_not_be_read_name_the_owner(reachable: Path) -> None:
    from quant.checkpoints.pretrained import read_folder
    from quant.corpora.unpacked import read_unpacked
    from tests import tiny

    tiny.llama().save_pretrained(reachable / "model")
    for name in ("config.json", "model.safetensors"):
        path = reachable / "model" / name
        mode = path.stat().st_mode
        path.chmod(0o000)
        words = refused(CheckpointError, lambda: read_folder(reachable / "model", "float32"))
        assert f"{path}: Permission denied: it belongs to {ME}, mode 0000" in words or words.endswith(
            f"in {path}, got: Permission denied: it belongs to {ME}, mode 0000"
        ), words
        path.chmod(mode)
    (reachable / "model").chmod(0o000)
    words = refused(CheckpointError, lambda: read_folder(reachable / "model", "float32"))
    assert f"Permission denied: it belongs to {ME}, mode 0000" in words
    text = reachable / "text.txt"
    text.touch()
    text.chmod(0o000)
    words = refused(CorpusError, lambda: read_unpacked(text, 100))
    assert words == f"expected a readable .txt file at {text}, got: Permission denied: it belongs to {ME}, mode 0000"


@needs_root
def test_what_is_written_keeps_the_group_of_a_shared_folder(reachable: Path) -> None:
    reachable.chmod(0o2775)
    os.chown(reachable, ALICE, TEAM)
    with user(ALICE, TEAM, umask=0o002):
        write(reachable / "new" / "file")
        with atomic_path(reachable / "folder") as temporary:
            temporary.mkdir(mode=0o700)
            (temporary / "inside").touch(mode=0o600)
    for path in (reachable / "new", reachable / "folder"):
        assert (path.stat().st_gid, path.stat().st_mode & 0o7777) == (TEAM, 0o2775), path
    for path in (reachable / "new" / "file", reachable / "folder" / "inside"):
        assert (path.stat().st_gid, path.stat().st_mode & 0o7777) == (TEAM, 0o664), path
