"""Load the model, store and text of a session, with the store's thread count.

The thread count affects the last bits of sums, so a store keeps the one that it was begun with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from landscape.formatting import plural
from landscape.probing.batches import fastest_size, routes_tokens, same_at_every_place
from landscape.probing.frozen_settings import Whole
from landscape.probing.store import Store
from landscape.session.bounds import BATCH, MOST_THREADS, MOST_VERSION
from landscape.session.memory import check_run, evaluation_need
from landscape.session.progress import Progress
from landscape.session.request import PresetRequest, Request, SplitRequest
from landscape.session.subject import Subject, prepare, prepare_split
from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.checkpoints.device import check_device_map
from quant.errors import StoreError, UsageError
from quant.nll import EVALUATION
from quant.numerics import HIGHEST
from quant.processor import processor_name
from quant.reach import check_reach
from quant.versions import library_versions

_EXPERTS = "a model with experts, whose products depend on all windows of a batch"


def load_model(request: Request, progress: Progress) -> Checkpoint:
    """Load the model of a request, and report the share of its weights in w.

    Raises:
        UsageError: if the request names no model, or one that is not available as asked for.
        CheckpointError: if the model cannot be fetched or read.
    """
    check_device_map(request.device_map, request.device)
    progress.stage("loading the model")
    checkpoint = load_checkpoint(
        request.model,
        dtype=request.dtype,
        device=request.device,
        device_map=request.device_map,
        matmul_precision=request.matmul_precision,
        exclude=request.exclude,
        cache=request.root,
        revision=request.revision,
        warn=progress.warn,
        stage=progress.stage,
    )
    progress.note(f"{checkpoint.coverage.sentence}.")
    return checkpoint


def open_store(request: Request, checkpoint: Checkpoint, progress: Progress) -> Store:
    """Open the store of a model; before a new one is begun, check that every matrix of w affects the logits.

    Raises:
        CheckpointError: if a matrix does not.
        StoreError: see ``check_evaluation``.
    """
    store = Store(request.root, checkpoint.identity, checkpoint.computation, warn=progress.warn)
    if not store.begun:
        check_reach(checkpoint.model, checkpoint.space)
    check_evaluation(store)
    return store


def check_evaluation(store: Store) -> None:
    """Check that the losses of a store were summed as this version sums them; a new store records the version.

    Raises:
        StoreError: if another version of the evaluation summed its losses, or its settings cannot be read.
    """
    if (stored := _settings(store)["evaluation"]) != EVALUATION:
        raise StoreError(
            f"expected losses summed by version {EVALUATION} of the evaluation in {store.folder}, "
            f"found version {stored}, whose last digits differ; remove that folder, or use another --store"
        )


def prepare_subject(request: Request, checkpoint: Checkpoint, progress: Progress) -> Subject:
    """Prepare the model and the windows that a request needs: those of its preset, or all of one split.

    Raises:
        UsageError: if windows are longer than the model accepts.
        CorpusError: if the text is not available, or too short.
    """
    data, seed, cache = request.corpus, request.seed, request.root
    revision, bos, warn = request.data_revision, request.bos, progress.warn
    if isinstance(request, SplitRequest):
        return prepare_split(
            checkpoint, data, request.split, request.seq_len, seed, cache, revision=revision, bos=bos, warn=warn
        )
    assert isinstance(request, PresetRequest)
    methods = request.data_for
    return prepare(checkpoint, data, request.drawn, methods, seed, cache, revision=revision, bos=bos, warn=warn)


@contextmanager
def frozen_threads(store: Store, warn: Callable[[str], None]) -> Iterator[None]:
    """Use the number of threads that the store was begun with, and restore the present one afterwards.

    Args:
        store: The store.
        warn: Hears of another number than that of this process, with which a machine may be idle, or overloaded.

    Raises:
        StoreError: if its settings cannot be read.
    """
    before, frozen = torch.get_num_threads(), int(_settings(store)["threads"])
    if frozen != before:
        warn(
            f"this run uses {plural(frozen, 'thread')}, not {before}: {store.folder} was begun so, and the last bits "
            f"of a loss depend on it; another --store begins with {before}"
        )
    torch.set_num_threads(frozen)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def frozen_batch(store: Store, subject: Subject, window: Tensor, asked: int | None) -> int:
    """Return the number of windows in a forward pass, which a store keeps for each kind of device and window length.

    Args:
        store: The store.
        subject: The model, on its device, and its weight space.
        window: (L,) token ids of one of the windows.
        asked: The number that a user asks for; None to measure it where the store has none yet.

    Raises:
        UsageError: if a loss would depend on the windows that share its batch, or the batch cannot fit in memory.
        StoreError: if the store was begun with another number than the one asked for, or than the model allows.
    """
    alone = routes_tokens(subject.space)
    if alone and asked not in (None, 1):
        raise UsageError(f"expected one window at a time for {_EXPERTS}, got --batch {asked}; leave --batch out")

    def chosen() -> int:
        if alone:
            return 1
        return _tried(subject, window, asked) if asked else fastest_size(subject.model, window)

    name = f"batch-{next(subject.model.parameters()).device.type}-{len(window)}"
    size = int(store.settings({"windows": chosen}, name, {"windows": Whole(BATCH.value)})["windows"])
    if alone and size != 1:
        raise StoreError(
            f"expected one window at a time for {_EXPERTS}, found batches of {size} in {store.folder}; use "
            "another --store"
        )
    if asked not in (None, size):
        raise StoreError(
            f"expected --batch {size}, with which {store.folder} was begun for windows of {len(window)} tokens, got "
            f"{asked}; leave --batch out, or use another --store"
        )
    return size


def _tried(subject: Subject, window: Tensor, size: int) -> int:
    """Return a number of windows that was asked for, once it was tried.

    Raises:
        UsageError: if a loss depends on the windows that share its batch, or so many cannot fit in memory.
    """
    if size > 1:
        check_run(evaluation_need(subject, size), subject.checkpoint)
        if not same_at_every_place(subject.model, window, size):
            raise UsageError(
                "expected losses that do not depend on the other windows of a batch, got some that do with --batch "
                f"{size}; use --batch 1, or leave --batch out"
            )
    return size


def _settings(store: Store) -> Mapping[str, Any]:
    """Return the settings that a store was begun with; those of this process begin a new one."""
    bounds = {"threads": Whole(max(MOST_THREADS, torch.get_num_threads())), "evaluation": Whole(MOST_VERSION, 1)}
    return store.settings({"threads": lambda: _threads(store), "evaluation": lambda: _evaluation(store)}, bounds=bounds)


def _threads(store: Store) -> int:
    """Return the number of threads that all known probes were evaluated with; of this process if there is no such."""
    known = _said(store, "threads", MOST_THREADS)
    found = known.pop() if len(known) == 1 else None
    return torch.get_num_threads() if found is None else found


def _evaluation(store: Store) -> int:
    """Return the version of the evaluation of all known probes; that of this process if there are none.

    Raises:
        StoreError: if probes do not say it, as those of earlier versions; they may be of an earlier evaluation.
    """
    known = _said(store, "evaluation", MOST_VERSION)
    if None in known:
        aside = ", ".join(path.name for path in sorted(store.folder.glob("settings.json.damaged*")))
        mend = (
            f"if {aside} there still holds it, correct that file and name it settings.json, or else " if aside else ""
        )
        raise StoreError(
            f"expected the version of the evaluation in settings.json of {store.folder}, which is gone or damaged, and "
            f"the losses there do not say it; {mend}remove that folder, or use another --store"
        )
    return min((version for version in known if version is not None and version != EVALUATION), default=EVALUATION)


def _said(store: Store, key: str, most: int) -> set[int | None]:
    """Collect what the records of known probes say of a whole number; None for a record that says nothing possible."""
    values, whole = [record.get(key) for record in store.provenances()], Whole(most)
    return {value if whole.takes(value) else None for value in values}


def provenance(device: str, precision: str = HIGHEST) -> dict[str, object]:
    """Return the provenance of new results: versions, processor, device, threads, and a precision below the highest."""
    versions = library_versions() | {"h5py": version("h5py"), "evaluation": EVALUATION}
    lower = {} if precision == HIGHEST else {"matmul precision": precision}
    return {**versions, "processor": processor_name(), "device": device, "threads": torch.get_num_threads(), **lower}
