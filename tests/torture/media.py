"""Fill the disk, make it read-only, limit its files, and come back with another device or precision."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.torture.contexts import Context, Round
from tests.torture.forks import Settings, run
from tests.torture.rows import changed, read_rows
from tests.torture.scenarios import Reference
from tests.torture.verdict import Verdict, judge

_SCENARIOS = ("rtn", "qaft", "gguf", "self", "study", "radius", "quantize", "anatomy", "export", "plot", "report")


@contextmanager
def _mounted(folder: Path, options: str, source: Path | None = None) -> Iterator[bool]:
    """Mount a small disk, or a folder again, at a folder; yield False where this user may not."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = ["--bind", str(source)] if source else ["-t", "tmpfs", "-o", options, "tmpfs"]
    done = os.geteuid() == 0 and subprocess.run(["mount", *kind, folder], capture_output=True).returncode == 0
    try:
        if done and source:
            subprocess.run(["mount", "-o", options, folder], check=True, capture_output=True)
        yield done
    finally:
        if done:
            subprocess.run(["umount", "--lazy", folder], check=True, capture_output=True)


def _full_disk(reference: Reference, folder: Path, draw: random.Random) -> Verdict:
    """Run on a disk that is too small, then on one with room that has what the first has kept."""
    size = draw.choice((16, 48, 96, 128, 192, 256, 384, 512, 768, 1024))
    with _mounted(folder / "disk", f"size={size}k") as is_small:
        if not is_small:
            return _small_files(reference, folder, draw)
        place = folder / "disk"
        try:
            reference.begin(place / "run")
        except OSError:  # what it begins with does not fit
            return Verdict("refused", "nothing fits")
        before = read_rows(place / "run" / "cache")
        printed = Settings(folder / "printed", place / "run" / "cache", {"PWD": "."})
        outcome = run(_at(reference, place / "run"), printed)
        verdict = reference.check(outcome, place / "run")
        rows = read_rows(place / "run" / "cache")
        if not verdict.is_fault and (words := changed(before, rows)):
            return replace(verdict, kind="lost", words=words)
        kept = folder / "room"
        shutil.copytree(place / "run", kept)
    return _afterwards(reference, kept, verdict).of(f"a disk of {size} KiB")


def _at(reference: Reference, place: Path) -> list[str]:
    """Return the words of a command, with what it reads and writes in another folder."""
    own = {*reference.scenario.outputs, "page", "point"}
    return [str(place / word) if word in own else word for word in reference.words]


def _afterwards(reference: Reference, folder: Path, verdict: Verdict) -> Verdict:
    """Run the command where there is room: the numbers of the undisturbed run."""
    if verdict.is_fault:
        return verdict
    later = reference.check(reference.run(folder), folder)
    if later.kind == "refused":
        return replace(later, kind="unexpected", words=f"refused where there is room: {later.words}")
    return later if later.is_fault else verdict


def _small_files(reference: Reference, folder: Path, draw: random.Random) -> Verdict:
    """Run with a limit on the size of files, then without."""
    size = draw.choice((1, 4, 8, 16, 32, 64, 128))
    before = read_rows(reference.begin(folder / "run"))
    verdict = reference.check(reference.run(folder / "run", file_size=size * 1024), folder / "run")
    if verdict.kind == "unexpected" and "no JSON" in verdict.words:  # the output itself is such a file
        verdict = replace(verdict, kind="refused")
    if words := changed(before, read_rows(folder / "run" / "cache")):
        return replace(verdict, kind="lost", words=words)
    return _afterwards(reference, folder / "run", verdict).of(f"files of {size} KiB")


def _read_only(reference: Reference, folder: Path, draw: random.Random) -> Verdict:
    """Run with a finished, or an empty, cache that may only be read."""
    finished = draw.random() < 0.7
    reference.begin(folder / "source", finished)
    (folder / "source" / "cache").mkdir(exist_ok=True)
    shutil.copytree(folder / "source", folder / "run", ignore=shutil.ignore_patterns("cache"))
    with _mounted(folder / "run" / "cache", "remount,ro,bind", folder / "source" / "cache") as is_mounted:
        if not is_mounted:
            return Verdict("refused", "no mount here")
        verdict = reference.check(reference.run(folder / "run"), folder / "run")
    if finished and verdict.kind == "refused":
        verdict = replace(verdict, kind="unexpected", words=f"refused, though all is there: {verdict.words}")
    return verdict.of(f"a {'finished' if finished else 'new'} cache that may only be read")


def _other_precision(reference: Reference, folder: Path, draw: random.Random) -> Verdict:
    """Run with another precision in a finished cache: kept apart, so that the first finds its own again."""
    dtype = draw.choice(("float16", "bfloat16", "auto"))
    cache = reference.begin(folder / "run", finished=True)
    before = read_rows(cache)
    outcome = run([*reference.words, "--dtype", dtype], Settings(folder / "run", Path("cache")))
    verdict = judge(outcome)
    if not verdict.is_fault and (words := changed(before, read_rows(cache))):
        verdict = replace(verdict, kind="lost", words=words)
    return _afterwards(reference, folder / "run", verdict).of(f"--dtype {dtype} in a cache of float32")


def _other_settings(reference: Reference, folder: Path, draw: random.Random) -> Verdict:
    """Run with another number of threads, device or batch in a finished cache."""
    words = draw.choice((["--device", "cuda"], ["--batch", "1"], ["--batch", "3"], ["--matmul-precision", "high"], []))
    cache = reference.begin(folder / "run", finished=True)
    before = read_rows(cache)
    own = [] if reference.scenario.name == "quantize" and "--batch" in words else words
    settings = Settings(folder / "run", Path("cache"), threads=draw.choice((1, 2)))
    for name in reference.scenario.outputs:
        shutil.rmtree(folder / "run" / name, ignore_errors=True)
    verdict = reference.check(run([*reference.words, *own], settings), folder / "run")
    if not verdict.is_fault and (lost := changed(before, read_rows(cache))):
        verdict = replace(verdict, kind="lost", words=lost)
    return _afterwards(reference, folder / "run", verdict).of(f"{' '.join(own)}, {settings.threads} threads")


_WAYS: tuple[Callable[[Reference, Path, random.Random], Verdict], ...] = (
    _full_disk, _full_disk, _small_files, _read_only, _other_precision, _other_settings,
)  # fmt: skip
_MODELS = ("rtn", "qaft", "gguf", "self", "study", "radius", "quantize", "anatomy")


def attempt(context: Context, number: int) -> Verdict:
    """Make one of these things go wrong."""
    draw = context.draw("media", number)
    way = draw.choice(_WAYS)
    reference = context.references[draw.choice(_MODELS if way in _WAYS[-2:] else _SCENARIOS)]
    with context.folder("media", number) as folder:
        return way(reference, folder, draw).of(reference.scenario.name)


ROUND = Round(
    "media", 60, attempt, "full disks, small files, read-only disks, another precision, device, batch", _SCENARIOS, 5.0
)
