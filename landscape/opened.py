"""What every job begins with: a model, its store, and the number of threads, on which the last bits of sums depend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import torch

from landscape.progress import Progress
from landscape.request import Request
from landscape.store import Store
from quant.checkpoint import Checkpoint, load_checkpoint
from quant.versions import library_versions


@contextmanager
def opened(request: Request, progress: Progress) -> Iterator[tuple[Checkpoint, Store]]:
    """The model of a request and its store, with the store's number of threads.

    Raises:
        CheckpointError: if the model cannot be had.
        StoreError: if the store cannot be read or made.
    """
    progress.stage("loading the model")
    checkpoint = load_checkpoint(
        request.model, dtype=request.dtype, device=request.device, cache=request.root, revision=request.revision
    )
    store = Store(request.root, checkpoint.fingerprint, checkpoint.dtype, warn=progress.warn)
    with frozen_threads(store):
        yield checkpoint, store


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
