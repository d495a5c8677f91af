"""Read input as the commands read it: by the same functions, with the same arguments."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

from landscape.cache.contents import read_store
from landscape.cache.inventory import list_units
from landscape.cache.verify import verify
from landscape.cli import main
from landscape.cli.commands import COMMANDS
from landscape.probing.frozen_settings import Whole
from landscape.probing.store import Store
from landscape.records.record import load_record, read_head
from landscape.records.run_files import find_run
from quant.checkpoints.checkpoint import load_checkpoint
from quant.corpora.corpus import load_corpus
from quant.corpora.texts import read_texts
from quant.errors import ToolkitError, UsageError
from quant.external.load import load_external
from tests.landscape import stores
from tests.torture import samples
from tests.torture.samples import Files, write_files

BOUNDS = {"threads": Whole(1024), "evaluation": Whole(100, missing=1)}
TEXT_BYTES = 2**22
_STOPPED = "stopped here"


class DefectError(Exception):
    """A command ended in an error that it did not expect, or without a sentence."""


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Work in a new folder, with the cache in it, off the network, and with a small limit of texts."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="torture-", dir=os.environ.get("TORTURE_TMP")) as name:
        settings = {
            "LANDSCAPE_CACHE": f"{name}/cache", "HF_HUB_OFFLINE": "1", "LANDSCAPE_TEXT_BYTES": str(TEXT_BYTES),
            "HF_HUB_CACHE": f"{name}/hub",
        }  # fmt: skip
        with mock.patch.dict(os.environ, settings), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            os.chdir(name)
            try:
                yield Path(name)
            finally:
                os.chdir(before)


def model(files: Files) -> None:
    """A folder, or a GGUF file, as ``--model``."""
    with scratch() as here:
        write_files(files, here / "m")
        name = next((f"m/{name}" for name in files if name.endswith(".gguf")), "m")
        checkpoint = load_checkpoint(name, warn=_ignore)
        _ = checkpoint.coverage, checkpoint.context, checkpoint.identity


def point(files: Files) -> None:
    """A folder as ``--point NAME=PATH``, with every part of the point."""
    checkpoint = samples.checkpoint()
    with scratch() as here:
        found = load_external(write_files(files, here / "p"), checkpoint, "theirs")
        for slot in checkpoint.space:
            found.tensor(slot)


def text(files: Files) -> None:
    """A file as ``--data``."""
    with scratch() as here:
        write_files(files, here)
        load_corpus(next(iter(files)), samples.checkpoint(), 8, warn=_ignore)


def names(name: str) -> None:
    """A name of a model, a corpus, a run and a point; each must be refused, or found."""
    for read in (
        lambda: load_checkpoint(name, warn=_ignore),
        lambda: read_texts(name),
        lambda: load_record(find_run(name, Path("cache"))),
        lambda: load_external(Path(name), samples.checkpoint(), "p"),
        lambda: load_external(Path("p"), samples.checkpoint(), name),
    ):
        with scratch(), contextlib.suppress(ToolkitError):
            read()


def run_file(files: Files) -> None:
    """A kept run, as ``landscape plot`` and ``landscape cache ls`` read it."""
    with scratch() as here:
        path = write_files(files, here) / next(iter(files))
        with contextlib.suppress(ToolkitError):
            read_head(path)
        load_record(path)


def renamed(files: Files) -> Files:
    """The files of a store, each HDF5 file under the hash of its bytes: as one who means harm would name it."""
    return {
        f"{name.rpartition('/')[0]}/{hashlib.sha256(content).hexdigest()}.h5" if name.endswith(".h5") else name: content
        for name, content in files.items()
    }


def store(files: Files) -> None:
    """A store, as a command reads it before its work; its own name is that of a model."""
    with scratch() as here:
        write_files(files, here / "cache")
        held = Store(here / "cache", stores.MODEL, "float32", warn=_ignore)
        for read in (
            held.probes,
            held.provenances,
            lambda: held.settings({"threads": 1, "evaluation": 2}, bounds=BOUNDS),
            lambda: _read_point(held, '{"method": "gptq"}'),
            lambda: _read_point(held, '{"method": "w_ft"}'),
            held.compact,
        ):
            with contextlib.suppress(ToolkitError):
                read()


def _read_point(held: Store, recipe: str) -> None:
    found = held.load_point(recipe, stores.SPACE)
    for slot in stores.SPACE if found else ():
        found.tensor(slot)


def cache(files: Files) -> None:
    """A cache folder, as ``landscape cache ls``, ``show`` and ``verify`` read it."""
    with scratch() as here:
        root = write_files(files, here / "cache")
        for folder in [path for path in root.iterdir() if path.is_dir()]:
            with contextlib.suppress(ToolkitError):
                read_store(folder)
        list_units(root)
        verify(root)


def training(files: Files) -> None:
    """The state of a training run that was killed, as the run that goes on reads it."""
    from tests.quant.finetuning import OTHER, make, run
    from tests.quant.methods.test_training_resume import TWO_RATES, Killed

    with scratch() as here, contextlib.suppress(Killed):
        folder = write_files(files, here / "training")
        run(make("opt"), TWO_RATES, OTHER, progress=_stopper(Killed), folder=folder)


def _stopper(error: type[BaseException]) -> Any:
    def stop(done: int, total: int) -> None:
        raise error

    return stop


def study(files: Files) -> None:
    """A study's TOML file, as ``landscape study`` reads it: up to the request."""
    with scratch() as here:
        write_files(files, here)
        command(["study", next(iter(files))])


def command(words: Sequence[str]) -> None:
    """Run a command up to its request; raise UsageError where it refuses, DefectError where it does not say why."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.ExitStack() as stack,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        stack.enter_context(mock.patch.object(sys, "argv", ["landscape", *words]))
        for each in COMMANDS:
            for verb in (each.verb, *(each.shard or ())[:1], *(each.dry_run or ())[:1]):
                module, _, name = verb.partition(":")
                stack.enter_context(mock.patch.object(import_module(module), name, _stopped))
        stack.enter_context(mock.patch("landscape.cli.run.approved", _stopped))
        stack.enter_context(mock.patch("landscape.cli.run.forecast_alone", _stopped))
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        except UsageError as stop:  # a study's file may ask for --debug
            if str(stop) != _STOPPED:
                raise
            code = 0
    said = err.getvalue().strip()
    if code not in (0, 1, 2) or "unexpected " in said or "Traceback" in said or (code and "error: " not in said):
        raise DefectError(f"exit code {code}: {said[:300]}")
    if code and _STOPPED not in said:
        raise UsageError(said)


def _stopped(*_: object, **__: object) -> None:
    raise UsageError(_STOPPED)


def _ignore(*_: object) -> None:
    """Take a warning."""


def options(words: tuple[str, ...]) -> None:
    """Words of a command line."""
    with scratch():
        command(words)
