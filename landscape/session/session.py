"""What every job begins with: a model, its store, and the number of threads, on which the last bits of sums depend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import torch

from landscape.probing.store import Store
from landscape.session.progress import Progress
from landscape.session.request import Request
from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.errors import StoreError
from quant.nll import EVALUATION
from quant.reach import check_reach
from quant.versions import library_versions


def loaded(request: Request, progress: Progress) -> Checkpoint:
    """Load the model of a request, and say how much of it w holds.

    Raises:
        UsageError: if the request names no model, or one that is not available as asked for.
        CheckpointError: if the model cannot be fetched or read.
    """
    progress.stage("loading the model")
    checkpoint = load_checkpoint(
        request.model,
        dtype=request.dtype,
        device=request.device,
        exclude=request.exclude,
        cache=request.root,
        revision=request.revision,
    )
    progress.note(f"{checkpoint.coverage.sentence}.")
    return checkpoint


@contextmanager
def opened(request: Request, progress: Progress) -> Iterator[tuple[Checkpoint, Store]]:
    """The model of a request and its store, with the store's number of threads.

    Raises:
        CheckpointError: if the model cannot be had.
        StoreError: if the store cannot be read or made.
    """
    checkpoint = loaded(request, progress)
    store = store_of(request, checkpoint, progress)
    with frozen_threads(store):
        yield checkpoint, store


def store_of(request: Request, checkpoint: Checkpoint, progress: Progress) -> Store:
    """Open the store of a model; before a new one is begun, see that every matrix of w has a part in the logits.

    Raises:
        CheckpointError: if one has none.
    """
    store = Store(request.root, checkpoint.identity, checkpoint.dtype, warn=progress.warn)
    if not store.begun:
        check_reach(checkpoint.model, checkpoint.space)
    return store


@contextmanager
def frozen_threads(store: Store) -> Iterator[None]:
    """Use the number of threads that the store was begun with.

    Raises:
        StoreError: if its losses were summed in another way, or its settings cannot be read.
    """
    before = torch.get_num_threads()
    settings = store.settings({"threads": before, "evaluation": EVALUATION})
    if (found := settings.get("evaluation", 1)) != EVALUATION:
        raise StoreError(
            f"expected losses summed by version {EVALUATION} of the evaluation in {store.folder}, "
            f"found version {found}, whose last digits differ; use another --store"
        )
    torch.set_num_threads(int(settings["threads"]))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_record(device: str) -> dict[str, object]:
    """What is recorded with new results: library versions, device and threads."""
    versions = library_versions() | {"h5py": version("h5py")}
    return {**versions, "device": device, "threads": torch.get_num_threads()}
