"""Measure the same R by other tools from PyPI, on the model, windows and machine of `landscape radius`: rows.

    python -m venv PEERS && PEERS/bin/pip install torch transformers loss-landscapes nngeom landscaper
    python -m benchmarks.speed.peers --python PEERS/bin/python --work WORK
    python -m benchmarks.speed.table

The tools get the windows at which our search stopped, and the matrices of w to move. Each runs in a process of its own,
up to a limit of time. The rows go to ``benchmarks/speed/peers.jsonl``; those of an earlier run are replaced.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.rows import Row, write_rows
from benchmarks.speed.machine import environment
from benchmarks.speed.peer_radius import WAYS
from landscape.radius import RadiusRequest, measure_radius
from landscape.session.session import Session
from quant.space import WeightSpace

HERE = Path(__file__).resolve().parent
ROWS = HERE / "peers.jsonl"
OURS = "landscape.measure_radius"


def our_radius(model: str, precision: float, work: Path) -> Row:
    """Measure R here, from an empty store: the seconds include all that the command does."""
    with tempfile.TemporaryDirectory(dir=work) as store:
        request = RadiusRequest(model, precision=precision, store=Path(store))
        begin = time.perf_counter()
        measured = measure_radius(request)
        seconds = time.perf_counter() - begin
    last, radius = measured.search.rounds[-1], measured.search.radius
    assert radius.value is not None
    return {
        "way": OURS, "model": model, "radius": radius.value, "half_width": (radius.high - radius.value) / radius.value,
        "directions": last.directions, "windows": last.windows, "seq_len": measured.subject.seq_len,
        "norm": measured.subject.norm, "tokens": measured.tokens, "seconds": seconds, "late": False,
        "threads": torch.get_num_threads(),
    }  # fmt: skip


def export(model: str, windows: int, folder: Path) -> None:
    """Write the model, its first windows and the names of the matrices that move."""
    with Session.open(RadiusRequest(model, store=folder / "store")) as session:
        subject = session.subject
        subject.model.save_pretrained(folder / "model")
        np.save(folder / "windows.npy", np.stack([w.tokens.numpy() for w in session.windows[:windows]]))
        about = {"moved": moved(subject.model, subject.space), "chance": math.log(subject.vocabulary)}
        (folder / "problem.json").write_text(json.dumps(about), encoding="utf-8")


def moved(model: torch.nn.Module, space: WeightSpace) -> list[str]:
    """Return the names of the parameters that are matrices of w.

    Raises:
        SystemExit: a matrix of w is not a whole parameter.
    """
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    for slot in space:
        if shapes.get(slot.name) != slot.shape:
            raise SystemExit(f"expected {slot.name} to be a whole parameter, found {shapes.get(slot.name)}")
    return [slot.name for slot in space]


def peer_radius(python: str, way: str, folder: Path, options: argparse.Namespace) -> Row:
    """Measure R by one way of one tool, in its own environment."""
    words = ["--precision", options.precision, "--minutes", options.minutes, "--threads", options.threads]
    command = [python, HERE / "peer_radius.py", way, folder, *words]
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=True)
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row


def main() -> None:
    """Measure our R, and that of every tool, and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="interpreter of the environment with the tools")
    parser.add_argument("--model", default="opt-nano")
    parser.add_argument("--precision", type=float, default=0.05)
    parser.add_argument("--minutes", type=float, default=10.0, help="limit of each (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ways", default=";".join(WAYS), help="separated by ';' (default: all)")
    parser.add_argument("--work", type=Path, required=True, help="folder for the exported model")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)

    shared = environment(HERE.parents[1])
    ours = our_radius(options.model, options.precision, options.work)
    export(options.model, ours["windows"], options.work)
    rows = [ours]
    for way in options.ways.split(";"):
        rows.append(peer_radius(options.python, way, options.work, options))
        print(json.dumps(rows[-1]), flush=True)
    write_rows(ROWS, [row | {"environment": shared} for row in rows])


if __name__ == "__main__":
    main()
