"""One flipped bit in any file is found, nothing is changed, and only what is damaged is set aside."""

import os
from pathlib import Path

import pytest

from landscape.cache.verify import verify
from quant.checkpoints.wheel import MEMBER
from tests.landscape.cache.folders import STORE, content, fill

HASHED = (
    f"{STORE}/probes/*.h5", f"{STORE}/layers/*.h5", f"{STORE}/points/*/*.h5",
    f"{STORE}/unfinished/*.safetensors", f"{STORE}/runs/*.json",
    "tokens/*.safetensors", "self/*/*/*.safetensors", "models/gguf-*/model.safetensors", "studies/*.json",
)  # fmt: skip


@pytest.fixture
def root(tmp_path):
    fill(tmp_path)
    return tmp_path


def flip(path, place):
    """Change one bit, as a disk does; the times stay."""
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=times)


def test_a_sound_cache_has_no_damage(root):
    before = content(root)
    done = verify(root)
    assert done.damaged == ()
    assert done.checked == 3 + 2 + 2 + 1 + 1 + 2 + 1 + 1 + 1 + 1  # of a sealed folder, all files at once
    states = sorted(finding.state for finding in done.findings)
    assert states == ["leftover", "leftover", "leftover", "unknown", "unknown"]
    assert content(root) == before


@pytest.mark.parametrize("pattern", HASHED)
def test_one_bit_is_found_and_set_aside_only_if_asked(pattern, root):
    path = next(root.glob(pattern))
    flip(path, len(path.read_bytes()) // 2)
    before = content(root)
    (finding,) = verify(root).damaged
    assert finding.path in (path, path.parent)
    assert content(root) == before
    (finding,) = verify(root, repair=True).damaged
    assert not finding.path.exists()
    assert finding.path.with_name(f"{finding.path.name}.damaged").exists()
    assert verify(root).damaged == ()


def test_a_store_alone_is_checked(root):
    path = next((root / "tokens").glob("*"))
    flip(path, -1)
    assert verify(root, STORE).damaged == ()
    assert len(verify(root).damaged) == 1


def test_a_download_that_is_another_file_is_damaged(root):
    path = root / "models" / Path(MEMBER).name
    path.write_bytes(b"GGUF")
    (finding,) = verify(root).damaged
    assert finding.path == path
