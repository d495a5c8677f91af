"""What the last bits of a sum depend on: the number of threads, frozen with the store, and the record of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import torch

from landscape.store import Store
from quant.versions import library_versions


@contextmanager
def frozen_threads(store: Store) -> Iterator[None]:
    """Use the number of threads that the store was begun with."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(store.settings({"threads": before})["threads"]))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_record(device: str) -> dict[str, object]:
    """What is recorded with new results: library versions, device and threads."""
    versions = library_versions() | {"h5py": version("h5py")}
    return {**versions, "device": device, "threads": torch.get_num_threads()}
