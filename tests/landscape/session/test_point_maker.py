"""Check that no split leaks into points that must not depend on it, and that points are made once."""

import json
import lzma
from dataclasses import replace
from pathlib import Path

import pytest

from landscape.probing.store import Store
from landscape.session.point_maker import PointMaker
from landscape.session.point_methods import METHODS
from landscape.session.point_specs import ExternalSpec, free_specs, point_specs
from landscape.session.presets import PRESETS
from landscape.session.subject import prepare
from quant.checkpoints.checkpoint import load_checkpoint
from quant.errors import CorpusError, UsageError
from quant.external.gauge import GAUGES
from quant.external.load import load_external
from quant.hashing import token_hash
from quant.methods.options import GPTQOptions
from tests.quant.external import folding

ROOT = Path(__file__).parents[3]
PRESET = PRESETS["quick"].__class__("tiny", 2, 2, 2, 32, 4, 3, 3, 4, 1, dict.fromkeys(range(2, 9), (0.001,)))
# int2 at absmax leaves so much to gain that QAFT does not stay at its epoch 0, which is RTN
SPECS = point_specs(("rtn", "gptq", "qaft"), (2,), ("absmax",))


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
    store = Store(tmp_path / "cache", checkpoint.identity, "float32")
    maker = PointMaker(subject, store, PRESET, 0)
    made = {spec.method: maker.make(spec, lambda share: None).fingerprint(subject.space) for spec in SPECS}
    return made, {spec.method: maker.recipe(spec) for spec in SPECS}


def test_no_split_leaks(checkpoint, tmp_path):
    (base, recipes), (test, of_test), (validation, of_validation), (train, _) = (
        fingerprints(checkpoint, tmp_path_for(tmp_path, name), name) for name in (None, "test", "validation", "train")
    )
    assert test == base
    assert of_test == recipes  # the recipe names the data by its hash, and the test split chose no epoch
    assert of_validation["gptq"] == recipes["gptq"]
    assert of_validation["qaft"] != recipes["qaft"]
    assert (validation["rtn"], validation["gptq"]) == (base["rtn"], base["gptq"])
    assert train["rtn"] == base["rtn"]
    assert train["gptq"] != base["gptq"]
    assert train["qaft"] != base["qaft"]
    assert len(set(base.values())) == 3


@pytest.mark.filterwarnings("ignore:All of test is also in")
@pytest.mark.parametrize(("copied", "what"), [("train", "training"), ("validation", "validation")])
def test_a_test_window_that_makes_a_point_is_an_error(checkpoint, tmp_path, copied, what):
    data = Path(write_corpus(tmp_path / "text"))
    (data / "test.txt").write_text((data / f"{copied}.txt").read_text())
    whole = replace(PRESET, train_windows=None, validation_windows=None, test_windows=None)
    preset = replace(whole, calibration_windows=30, qaft_examples=30)
    with pytest.raises(CorpusError, match=f"expected test windows that are not {what} windows, [0-9]+ are"):
        prepare(checkpoint, str(data), preset, ("rtn", "gptq", "qaft"), 0, tmp_path / "cache")


def test_every_method_makes_its_own_point_on_the_same_data(checkpoint, tmp_path):
    data = write_corpus(tmp_path / "text")
    on_grids, free = point_specs(METHODS, (2,), ("absmax",)), free_specs(METHODS, (2,), PRESET)
    specs = (*on_grids, *free)
    assert [spec.method for spec in specs] == list(METHODS)
    subject = prepare(checkpoint, data, PRESET, METHODS, 0, tmp_path / "cache")
    store = Store(tmp_path / "cache", checkpoint.identity, "float32")
    maker = PointMaker(subject, store, PRESET, 0)
    for spec in specs:  # as a survey does: a stored point is not made again
        if maker.find(spec) is None:
            maker.make(spec, lambda share: None)
    found = {spec.method: maker.find(spec) for spec in specs}
    assert [spec.name for spec in on_grids] == [found[spec.method].name for spec in on_grids]
    assert [(found[spec.method].name, found[spec.method].scheme) for spec in free] == [("w_ft", None)]
    assert len({maker.recipe(spec) for spec in specs}) == len(METHODS)
    moved = [found[m].fingerprint(subject.space) for m in METHODS if m != "qaft-from-gptq"]  # that one may stay GPTQ
    assert len(set(moved)) == len(METHODS) - 1
    calibrated = {found[m].provenance["windows"]["sha256"] for m in ("gptq", "awq", "signround")}
    assert calibrated == {token_hash(subject.calibration.windows)}
    trained = {found[m].provenance["data"]["train"]["sha256"] for m in ("qaft", "qaft-lsq", "qaft-from-gptq", "w_ft")}
    assert trained == {token_hash(subject.calibration.training)}
    assert found["qaft-from-gptq"].provenance["start"] == found["gptq"].fingerprint(subject.space)
    for alone in METHODS:  # asked for alone, a method draws the same windows and has the same recipe
        by_itself = prepare(checkpoint, data, PRESET, (alone,), 0, tmp_path / "cache")
        own = next(spec for spec in specs if spec.method == alone)
        assert ("rates" in json.loads(maker.recipe(own)).get("options", {})) == ("qaft" in alone or alone == "w_ft")
        assert PointMaker(by_itself, store, PRESET, 0).recipe(own) == maker.recipe(own)


def test_options_of_gptq_are_part_of_the_recipe_of_a_point(checkpoint, tmp_path):
    data = write_corpus(tmp_path / "text")
    subject = prepare(checkpoint, data, PRESET, METHODS, 0, tmp_path / "cache")
    store = Store(tmp_path / "cache", checkpoint.identity, "float32")
    makers = [PointMaker(subject, store, PRESET, 0, options) for options in (GPTQOptions(), GPTQOptions(inputs="fp"))]
    specs = {spec.method: spec for spec in point_specs(METHODS, (2,), ("absmax",))}
    for method, differs in (("gptq", True), ("qaft-from-gptq", True), ("rtn", False), ("qaft", False), ("awq", False)):
        assert (makers[0].recipe(specs[method]) != makers[1].recipe(specs[method])) == differs


def tmp_path_for(tmp_path, name):
    folder = tmp_path / str(name)
    folder.mkdir()
    return folder


def test_a_point_is_found_by_its_recipe(checkpoint, tmp_path):
    data = write_corpus(tmp_path / "text")
    subject = prepare(checkpoint, data, PRESET, ("rtn", "gptq", "qaft"), 0, tmp_path / "cache")
    store = Store(tmp_path / "cache", checkpoint.identity, "float32")
    maker = PointMaker(subject, store, PRESET, 0)
    rtn, gptq, _ = SPECS
    assert maker.find(gptq) is None
    shares = []
    made = maker.make(gptq, shares.append)
    assert sum(shares) == pytest.approx(1)
    assert maker.find(rtn) is not None  # GPTQ needs its scales, so it was made on the way
    assert maker.find(gptq).fingerprint(subject.space) == made.fingerprint(subject.space)
    other = PointMaker(subject, store, PRESET, seed=1)
    assert other.find(SPECS[2]) is None
    scales = {spec.method: {name: part.scale for name, part in maker.find(spec).parts.items()} for spec in (rtn, gptq)}
    assert all((scales["rtn"][name] == scale).all() for name, scale in scales["gptq"].items())


def test_gauge_reaches_a_point_of_another_tool(checkpoint, tmp_path):
    folding.write(tmp_path / "t", checkpoint, "awq", lambda m: folding.fold(m, folding.OPT))
    subject = prepare(checkpoint, write_corpus(tmp_path / "text"), PRESET, ("rtn",), 0, tmp_path / "cache")
    maker = PointMaker(subject, Store(tmp_path / "cache", checkpoint.identity, "float32"), PRESET, 0)
    for gauge in GAUGES:
        point = maker.find(ExternalSpec("t", tmp_path / "t", gauge))
        theirs = load_external(tmp_path / "t", checkpoint, "t", gauge)
        assert point.provenance["unfolded"]["gauge"] == gauge
        assert point.fingerprint(subject.space) == theirs.fingerprint(subject.space)
    with pytest.raises(UsageError, match="nearest or stored as gauge"):
        ExternalSpec("t", tmp_path / "t", "flat")
