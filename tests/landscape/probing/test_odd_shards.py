"""What lies in a store under the name of a shard and is no file is set aside, said once, and blocks no run."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from landscape.cache.contents import read_store
from landscape.cache.verify import verify
from landscape.probing.plan import Probe
from landscape.probing.shards import ShardFolder
from tests.landscape.stores import MODEL, SPACE, float_point, quiet, result, shard_files, store

NAME = f"{'0' * 64}.h5"


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(here)


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("of somebody")


ODD: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a folder": make_folder,
    "a socket": make_socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
}
odd = pytest.mark.parametrize("kind", ODD)


@odd
def test_the_rows_beside_it_are_read_and_it_is_set_aside(kind: str, tmp_path: Path) -> None:
    said: list[str] = []
    store(tmp_path).commit([result("w")], {})
    path = shard_files(tmp_path)[0].with_name(NAME)
    ODD[kind](path)
    here = store(tmp_path, said.append)
    assert list(here.probes()) == [Probe("w", "w0")]
    assert said == [
        f"{path} is {kind}: moved to {NAME}.damaged; what it held counts as absent and is computed again when asked for"
    ]
    here.commit([result("ray")], {})
    here.compact()
    assert len(said) == 1
    assert len(store(tmp_path, quiet).probes()) == 2
    aside = path.with_name(f"{NAME}.damaged")
    assert os.path.lexists(aside)
    assert kind != "a folder" or (aside / "notes.txt").read_text() == "of somebody"


@odd
def test_a_second_one_takes_another_name(kind: str, tmp_path: Path) -> None:
    here, said = ShardFolder(tmp_path, {}, lambda line: said.append(line)), []
    for _ in range(2):
        ODD[kind](tmp_path / NAME)
        assert here.read_all(lambda shard: shard) == {}
    assert len(said) == 2
    assert len(list(os.scandir(tmp_path))) == 2


@odd
def test_a_point_is_made_again_beside_it(kind: str, tmp_path: Path) -> None:
    said: list[str] = []
    point = store(tmp_path).save_point("r", SPACE, float_point())
    (path,) = tmp_path.glob("*/points/*/*.h5")
    path.unlink()
    ODD[kind](path)
    here = store(tmp_path, said.append)
    assert here.load_point("r", SPACE) is None
    ODD[kind](path)  # and one that comes between the look and the write
    again = here.save_point("r", SPACE, float_point())
    assert again.fingerprint(SPACE) == point.fingerprint(SPACE)
    assert len(said) == 2


@odd
def test_the_commands_of_the_cache_neither_wait_for_it_nor_remove_it(kind: str, tmp_path: Path) -> None:
    store(tmp_path).commit([result("w")], {})
    path = shard_files(tmp_path)[0].with_name(NAME)
    ODD[kind](path)
    assert read_store(tmp_path / f"{MODEL[:16]}-float32").probes == {"w": 1}
    verify(tmp_path)
    verify(tmp_path, repair=True)
    assert os.path.lexists(path) or os.path.lexists(path.with_name(f"{NAME}.damaged"))
