"""No split leaks into what it must not touch, and points are made once."""

import lzma
from dataclasses import replace
from pathlib import Path

import pytest

from landscape.points import PointMaker
from landscape.presets import PRESETS
from landscape.store import Store
from landscape.subject import prepare
from landscape.wanted import wanted_points
from quant.checkpoint import load_checkpoint
from quant.errors import CorpusError

ROOT = Path(__file__).parent.parent.parent
PRESET = PRESETS["quick"].__class__("tiny", 2, 2, 2, 32, 4, 3, 3, 4, 1, dict.fromkeys(range(2, 9), (0.001,)))
# int2 at absmax leaves so much to gain that QAFT does not stay at its epoch 0, which is RTN
WANTED = wanted_points(("rtn", "gptq", "qaft"), (2,), ("absmax",))


@pytest.fixture(scope="module")
def checkpoint():
    return load_checkpoint("opt-nano")


def write_corpus(folder, scrambled=None):
    """Three short splits of the embedded text; one of them with its sentences in another order."""
    folder.mkdir()
    for split in ("train", "validation", "test"):
        text = lzma.decompress((ROOT / f"data/tales/{split}.txt.xz").read_bytes()).decode()[:6000]
        if split == scrambled:
            text = ". ".join(sorted(text.split(". ")))
        (folder / f"{split}.txt").write_text(text)
    return str(folder)


def fingerprints(checkpoint, tmp_path, scrambled=None):
    data = write_corpus(tmp_path / "text", scrambled)
    subject = prepare(checkpoint, data, PRESET, ("rtn", "gptq", "qaft"), 0, tmp_path / "cache")
    store = Store(tmp_path / "cache", checkpoint.fingerprint, "float32")
    maker = PointMaker(subject, store, PRESET, 0)
    made = {w.method: maker.make(w, lambda share: None).fingerprint(subject.space) for w in WANTED}
    return made, {w.method: maker.recipe(w) for w in WANTED}


def test_no_split_leaks(checkpoint, tmp_path):
    (base, recipes), (test, of_test), (validation, of_validation), (train, _) = (
        fingerprints(checkpoint, tmp_path_for(tmp_path, name), name) for name in (None, "test", "validation", "train")
    )
    assert test == base
    assert of_test == recipes  # the recipe names the data by its hash: what chose the epoch is not the test split
    assert of_validation["gptq"] == recipes["gptq"]
    assert of_validation["qaft"] != recipes["qaft"]
    assert (validation["rtn"], validation["gptq"]) == (base["rtn"], base["gptq"])
    assert train["rtn"] == base["rtn"]
    assert train["gptq"] != base["gptq"]
    assert train["qaft"] != base["qaft"]
    assert len(set(base.values())) == 3


@pytest.mark.parametrize(("copied", "what"), [("train", "training"), ("validation", "validation")])
def test_a_test_window_that_makes_a_point_is_an_error(checkpoint, tmp_path, copied, what):
    data = Path(write_corpus(tmp_path / "text"))
    (data / "test.txt").write_text((data / f"{copied}.txt").read_text())
    whole = replace(PRESET, train_windows=None, validation_windows=None, test_windows=None)
    preset = replace(whole, calibration_windows=30, qaft_examples=30)
    with pytest.raises(CorpusError, match=f"[0-9]+ of the {what} windows are test windows as well"):
        prepare(checkpoint, str(data), preset, ("rtn", "gptq", "qaft"), 0, tmp_path / "cache")


def tmp_path_for(tmp_path, name):
    folder = tmp_path / str(name)
    folder.mkdir()
    return folder


def test_a_point_is_found_by_what_it_was_made_of(checkpoint, tmp_path):
    data = write_corpus(tmp_path / "text")
    subject = prepare(checkpoint, data, PRESET, ("rtn", "gptq", "qaft"), 0, tmp_path / "cache")
    store = Store(tmp_path / "cache", checkpoint.fingerprint, "float32")
    maker = PointMaker(subject, store, PRESET, 0)
    rtn, gptq, _ = WANTED
    assert maker.find(gptq) is None
    shares = []
    made = maker.make(gptq, shares.append)
    assert sum(shares) == pytest.approx(1)
    assert maker.find(rtn) is not None  # GPTQ needs its scales, so it was made on the way
    assert maker.find(gptq).fingerprint(subject.space) == made.fingerprint(subject.space)
    other = PointMaker(subject, store, PRESET, seed=1)
    assert other.find(WANTED[2]) is None
    scales = {m: {n: p.scale for n, p in maker.find(w).parts.items()} for m, w in (("rtn", rtn), ("gptq", gptq))}
    assert all((scales["rtn"][name] == scale).all() for name, scale in scales["gptq"].items())
