"""Read hashed files back to the bit, or not at all."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from quant.files.hashed_files import is_sealed, read_hashed, seal, write_hashed

TENSORS = {"ids": torch.arange(12).view(3, 4), "more": torch.tensor([1.5], dtype=torch.bfloat16)}


def test_written_tensors_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.safetensors"
    write_hashed(path, TENSORS, {"recipe": "a", "words": "b"})
    tensors, metadata = read_hashed(path, {"recipe": "a"})
    assert metadata == {"recipe": "a", "words": "b"}
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert read_hashed(path, {"recipe": "b"}) is None
    assert read_hashed(path.with_name("other"), {}) is None
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_every_flipped_bit_is_absence(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    write_hashed(path, TENSORS, {"recipe": "a"})
    content = path.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        read = read_hashed(path, {"recipe": "a"})
        # What is left of the header's freedom, such as a space for another, changes nothing that is read.
        assert read is None or all(torch.equal(read[0][name], TENSORS[name]) for name in TENSORS)
        assert place < 8 + int.from_bytes(content[:8], "little") or read is None
    path.write_bytes(content)
    assert read_hashed(path, {"recipe": "a"}) is not None


def test_a_file_without_a_hash_is_absence(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "file", {"recipe": "a"})
    assert read_hashed(tmp_path / "file", {"recipe": "a"}) is None


def test_a_sealed_folder_is_known_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    assert not is_sealed(tmp_path)
    seal(tmp_path)
    assert is_sealed(tmp_path)
    for change in (lambda: (tmp_path / "a" / "x").write_text("2"), lambda: (tmp_path / "b").write_text("")):
        change()
        assert not is_sealed(tmp_path)
        seal(tmp_path)
    assert not is_sealed(tmp_path / "missing")
