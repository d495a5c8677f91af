from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape.probing.shard_file import Shard, Streamed
from landscape.probing.shards import ShardFolder
from quant.errors import StoreError

IDENTITY = {"schema_version": 1, "kind": "test"}


def quiet(line: str) -> None:
    raise AssertionError(f"unexpected warning: {line}")


def folder(path: Path, warn: object = quiet) -> ShardFolder:
    return ShardFolder(path / "shards", IDENTITY, warn)  # type: ignore[arg-type]


def numbers(shard: Shard) -> list[int]:
    return [int(value) for value in shard.numbers("x")]


def test_a_shard_is_plain_hdf5_named_by_the_hash_of_its_bytes(tmp_path: Path) -> None:
    shards = folder(tmp_path)
    pieces = Streamed("<f4", 5, [np.array([1, 2], np.float32), np.array([3, np.nan, -np.inf], np.float32)])
    arrays = {"words": ["", "é", "ray/λ"], "x": np.array([1, -2], np.int64), "long": pieces}
    name = shards.add(arrays, {"text": "y" * 200_000, "n": 3})
    path = tmp_path / "shards" / name
    assert subprocess.check_output(["sha256sum", str(path)], text=True).split()[0] == name.removesuffix(".h5")
    assert os.listdir(path.parent) == [name]
    with h5py.File(path) as file:
        assert file["words"].asstr()[:].tolist() == ["", "é", "ray/λ"]
        assert file["x"][:].tolist() == [1, -2]
        np.testing.assert_array_equal(file["long"][:], np.array([1, 2, 3, np.nan, -np.inf], np.float32))
        held = {name: value.decode() if isinstance(value, bytes) else value for name, value in file.attrs.items()}
        assert held == {**IDENTITY, "text": 200_000, "n": 3}  # too long for an attribute
        assert file["text"][:].tobytes() == b"y" * 200_000
    with shards.open(name) as shard:  # type: ignore[union-attr]
        assert shard.attributes == {**IDENTITY, "text": "y" * 200_000, "n": 3}
        assert shard.strings("words") == ["", "é", "ray/λ"]
        assert shard.numbers("long", 1, 3).tolist() == [2, 3]
        assert "x" in shard
        assert "z" not in shard


def test_the_same_content_is_one_file(tmp_path: Path) -> None:
    shards = folder(tmp_path)
    names = {shards.add({"x": np.arange(3)}, {"a": "b"}) for _ in range(2)}
    assert shards.names() == names
    assert len(names) == 1


def test_reading_an_absent_folder_makes_nothing(tmp_path: Path) -> None:
    assert folder(tmp_path).names() == set()
    assert folder(tmp_path).read_all(numbers) == {}
    assert folder(tmp_path).open("0" * 64 + ".h5") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_shard_is_set_aside_and_the_others_are_read(tmp_path: Path, damage: str) -> None:
    lines: list[str] = []
    shards = folder(tmp_path, lines.append)
    kept, broken = (shards.add({"x": np.array([i])}, {}) for i in (1, 2))
    path = tmp_path / "shards" / broken
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes({"flip": content, "truncate": content[:-8], "empty": b""}[damage])
    assert shards.read_all(numbers) == {kept: [1]}
    assert shards.read_all(numbers) == {kept: [1]}
    assert sorted(os.listdir(path.parent)) == sorted([kept, f"{broken}.damaged"])
    assert len(lines) == 1
    assert str(path) in lines[0]
    assert f"{broken}.damaged" in lines[0]
    assert "computed again" in lines[0]
    assert "\n" not in lines[0]
    assert shards.add({"x": np.array([2])}, {}) == broken
    assert shards.read_all(numbers) == {kept: [1], broken: [2]}


def test_a_file_that_is_no_hdf5_is_set_aside(tmp_path: Path) -> None:
    lines: list[str] = []
    name = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9.h5"  # sha256 of "hello world"
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / name).write_bytes(b"hello world")
    assert folder(tmp_path, lines.append).read_all(numbers) == {}
    assert os.listdir(tmp_path / "shards") == [f"{name}.damaged"]
    assert len(lines) == 1


def test_an_open_shard_reads_on_after_its_file_is_gone(tmp_path: Path) -> None:
    shards = folder(tmp_path)
    name = shards.add({"x": np.arange(5)}, {})
    shard = shards.open(name)
    shards.remove([name])
    assert shards.names() == set()
    assert shard is not None
    assert numbers(shard) == [0, 1, 2, 3, 4]


def test_a_shard_nobody_uses_is_closed(tmp_path: Path) -> None:
    def held() -> int:
        links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
        return sum(os.readlink(link).startswith(str(tmp_path)) for link in links if os.path.islink(link))

    if not Path("/proc/self/fd").exists():
        pytest.skip("counts descriptors in /proc")
    shards = folder(tmp_path)
    shard = shards.open(shards.add({"x": np.arange(5)}, {}))
    assert held() == 1
    del shard
    assert held() == 0


def test_a_merge_during_reading_loses_nothing(tmp_path: Path) -> None:
    shards = folder(tmp_path)
    first, second = sorted(shards.add({"x": np.array([i])}, {}) for i in (1, 2))
    merged = []

    def read(shard: Shard) -> list[int]:
        if not merged:  # between this shard and the next, another process merges both
            merged.append(shards.add({"x": np.array([1, 2])}, {}))
            shards.remove([first, second])
        return numbers(shard)

    found = shards.read_all(read)
    assert second not in found
    assert found[merged[0]] == [1, 2]


def test_a_shard_that_vanishes_after_it_was_verified_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = folder(tmp_path)
    name = shards.add({"x": np.arange(3)}, {})

    def verified_and_gone(path: Path) -> str:
        path.unlink()
        return name

    monkeypatch.setattr("landscape.probing.shards._content_name", verified_and_gone)
    assert shards.open(name) is None


def test_a_newer_schema_is_refused_by_name(tmp_path: Path) -> None:
    ShardFolder(tmp_path / "shards", {**IDENTITY, "schema_version": 2}, quiet).add({"x": np.arange(2)}, {})
    with pytest.raises(
        StoreError, match=r"expected schema_version 1, found 2 in .*\.h5; update or use another --store"
    ):
        folder(tmp_path).read_all(numbers)


def test_a_file_in_the_place_of_a_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "shards").write_text("")
    for action in (lambda: folder(tmp_path).add({"x": np.arange(2)}, {}), lambda: folder(tmp_path).names()):
        with pytest.raises(StoreError, match=r"cannot .*shards: (File exists|Not a directory); .*--store"):
            action()


def test_an_interrupt_waits_until_hdf5_has_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    shards = folder(tmp_path)
    monkeypatch.setattr("landscape.probing.file_sink.FileSink._write_all", interrupted)
    before = h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE)
    with pytest.raises(KeyboardInterrupt):
        shards.add({"x": np.arange(2)}, {})
    assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) == before
    assert os.listdir(tmp_path / "shards") == []
    monkeypatch.undo()
    assert len(shards.read_all(numbers)) + len({shards.add({"x": np.arange(2)}, {})}) == 1


FULL_DISK = """
import errno, os, resource, sys
from pathlib import Path
import h5py
import numpy as np
from landscape.probing.shard_file import Streamed
from landscape.probing.shards import ShardFolder
from quant.errors import StoreError

shards = ShardFolder(Path(sys.argv[1]), {"schema_version": 1}, print)
shards.add({"x": np.arange(3)}, {})
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
refused = 0
for limit in range(0, 12_000, 151):  # wherever in the file the disk is full: superblock, data, directory, attributes
    for i, long in enumerate((np.zeros(800), Streamed("<f8", 800, [np.zeros(400), np.zeros(400)]))):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited[1]))
        try:
            shards.add({"words": ["a" * 50] * 10, "long": long}, {"n": limit, "i": i})
        except StoreError as error:
            assert os.strerror(errno.EFBIG) in str(error) and "free space" in str(error), error
            refused += 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
shards.add({"x": np.arange(4)}, {})
files = os.listdir(sys.argv[1])
assert all(name.endswith(".h5") for name in files), files
assert len(shards.read_all(lambda shard: True)) == len(files) == 2 + 160 - refused, (len(files), refused)
print(refused, h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE))
"""


def test_a_full_disk_is_one_line_and_harms_nothing(tmp_path: Path) -> None:
    """In a process of its own: HDF5 that meets a write error itself crashes at a later time, or at exit."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "shards")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    refused, left_open = done.stdout.split()
    assert 80 < int(refused) < 160
    assert left_open == "0"


FEW_DESCRIPTORS = """
import os, resource, sys
from pathlib import Path
import numpy as np
from landscape.probing.shards import ShardFolder
from quant.errors import StoreError

shards = ShardFolder(Path(sys.argv[1]), {}, print)
names = {shards.add({"x": np.array([i])}, {}) for i in range(100)}
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
try:
    kept = [shards.open(name) for name in names]
except StoreError as error:
    print(error)
assert shards.names() == names
"""


def test_an_error_of_the_system_is_no_damage(tmp_path: Path) -> None:
    """A process that has no file descriptors left must not set intact shards aside."""
    done = subprocess.run(
        [sys.executable, "-c", FEW_DESCRIPTORS, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert os.strerror(errno.EMFILE) in done.stdout
    assert "damaged" not in done.stdout


def test_a_shard_that_goes_while_it_is_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 opens a file more than once, and what it says of one that went in between has no error number."""
    shards = folder(tmp_path)  # fails at a warning
    name = shards.add({"x": np.arange(3)}, {})
    monkeypatch.setattr("landscape.probing.shards.open_shard", lambda path: path.unlink())
    assert shards.open(name) is None
    assert shards.names() == set()
