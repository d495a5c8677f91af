"""``landscape curvature`` on the built-in model, against gradients and losses of transformers' model in float64."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import cross_entropy

from landscape.cli import main
from landscape.curvature import anharmonicity as anharmonic
from landscape.curvature.anharmonicity import CurvatureResult, measure_curvature
from landscape.curvature.hessian import FlatVector, lent_hessian
from landscape.curvature.request import CurvatureRequest
from landscape.positions.directions import Sphere
from quant.checkpoints.checkpoint import load_checkpoint
from quant.corpora.corpus import load_corpus
from quant.errors import UsageError

LENGTH, DIRECTIONS, WINDOWS = 32, 3, 2


class ByHand:
    """The model in float64, its losses and gradients at any weights."""

    def __init__(self) -> None:
        checkpoint = load_checkpoint("opt-nano")
        tokens = load_corpus("tales", checkpoint, LENGTH).windows("validation", WINDOWS, 0)
        self.model, self.space, self.tokens = checkpoint.model.double(), checkpoint.space, tokens
        self.weights = [p.requires_grad_() for p in self.space.parameters(self.model)]
        self.pristine = [p.detach().clone() for p in self.weights]

    def direction(self, index: int) -> list[Tensor]:
        drawn = Sphere(self.space, 0).draw(index)
        return [drawn.tensor(slot).double() for slot in self.space]

    def loss(self, direction: list[Tensor], lam: float) -> Tensor:
        """Mean NLL over windows of one length, on the graph."""
        for p, start, step in zip(self.weights, self.pristine, direction, strict=True):
            p.data.copy_(start + lam * step)
        logits = self.model(input_ids=self.tokens).logits[:, :-1]  # its own loss would be taken in float32
        return cross_entropy(logits.flatten(0, 1), self.tokens[:, 1:].flatten())

    def bend(self, direction: list[Tensor], step: float = 1e-6) -> float:
        """``vᵀHv`` by differences of gradients, so near that no ReLU changes sides."""
        ends = [torch.autograd.grad(self.loss(direction, s * step), self.weights) for s in (1, -1)]
        return sum(
            float((v * (a - b)).sum()) for v, a, b in zip(direction, *ends, strict=True)
        ) / (2 * step)  # fmt: skip


def request(tmp_path: Path, **options: object) -> CurvatureRequest:
    some = {"seq_len": LENGTH, "precision": 0.15, "directions": DIRECTIONS, "windows": WINDOWS, "store": tmp_path}
    return CurvatureRequest(**{**some, **options})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def curved(tmp_path_factory: pytest.TempPathFactory) -> CurvatureResult:
    return measure_curvature(request(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def by_hand() -> ByHand:
    return ByHand()


def test_the_trace_by_products_is_that_of_gradients(curved: CurvatureResult, by_hand: ByHand) -> None:
    mean = sum(by_hand.bend(by_hand.direction(index)) for index in range(DIRECTIONS)) / DIRECTIONS
    assert curved.products.trace.estimate.value == pytest.approx(983040 * mean, rel=1e-3)
    assert curved.radius.family == Sphere(by_hand.space, 0).name
    assert (curved.products.trace.directions, curved.products.trace.windows) == (DIRECTIONS, WINDOWS)


def test_the_trace_by_pairs_is_that_of_losses_without_their_quartic_part(
    curved: CurvatureResult, by_hand: ByHand
) -> None:
    with torch.no_grad():
        center = float(by_hand.loss(by_hand.direction(0), 0.0))
        near, far = (
            sum(
                float(by_hand.loss(by_hand.direction(index), sign * lam)) - center
                for index in range(DIRECTIONS)
                for sign in (1, -1)
            )
            / (DIRECTIONS * lam**2)  # the mean over directions of the second difference
            for lam in curved.lambdas
        )
    ratio = (curved.lambdas[1] / curved.lambdas[0]) ** 2
    assert curved.pairs.trace.estimate.value == pytest.approx(983040 * (ratio * near - far) / (ratio - 1), rel=1e-3)
    radius = curved.radius.search.radius.value
    assert radius is not None
    assert [lam / radius for lam in curved.lambdas] == pytest.approx([0.1, 0.2], rel=0.1)


def test_the_index_is_r_over_where_the_parabola_is_halfway(curved: CurvatureResult) -> None:
    rise = (math.log(1024) - curved.center_nll) / 2
    radius = curved.radius.search.radius.value
    assert radius is not None
    for way in (curved.products, curved.pairs):
        assert way.radius is not None
        assert way.index is not None
        reach = math.sqrt(2 * rise * 983040 / way.trace.estimate.value)
        assert way.radius.value == pytest.approx(reach, rel=1e-6)
        assert way.index.value == pytest.approx(radius / reach, rel=1e-6)
        assert way.index.low < way.index.value < way.index.high


def test_the_top_eigenvalue_is_the_bend_along_its_vector_and_above_any_other(
    curved: CurvatureResult, by_hand: ByHand
) -> None:
    assert curved.top is not None
    vector = FlatVector(curved.top.vector.values)
    along = by_hand.bend([vector.tensor(slot).double() for slot in by_hand.space])
    assert curved.top.value == pytest.approx(along, rel=1e-3)
    assert curved.top.value > 100 * curved.products.trace.estimate.value / 983040
    assert curved.products_taken == WINDOWS * (DIRECTIONS + curved.top.products)


def test_a_model_that_the_products_leave_changed_is_found(
    tmp_path: Path, curved: CurvatureResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def damaging(model: Module, *others: object) -> Iterator[object]:
        with lent_hessian(model, *others) as hessian:
            yield hessian
        with torch.no_grad():
            model.get_parameter("model.decoder.final_layer_norm.weight")[0] += 1e-3

    health = curved.radius.run.health
    assert [check.passed for check in health] == [True, True, None, True, True, True, True, True]
    assert health[2].words.startswith("The slope of the loss at w is ")
    monkeypatch.setattr(anharmonic, "lent_hessian", damaging)
    damaged = measure_curvature(request(tmp_path, directions=2, top=False)).radius.run.health
    assert [check.passed for check in damaged] == [False, True, None, True, True, True, True, True]
    assert "the model was changed on the way" in damaged[0].words


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"directions": 1}, "at least 2 directions and 2 windows, got 1 and 2"),
        ({"dtype": "float16"}, "expected float32 for second derivatives, got float16"),
    ],
)
def test_requests_are_checked(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CurvatureRequest(**{"windows": 2, **options})


def run(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["landscape", "curvature", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    out = capsys.readouterr()
    return int(end.value.code or 0), out.out, out.err


def test_text_and_json_say_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--seq-len", LENGTH, "--precision", 0.15, "--directions", 2, "--windows", 2, "--no-top"]
    code, text, _ = run(capsys, monkeypatch, *words, "--store", tmp_path)
    assert code == 0
    code, out, _ = run(capsys, monkeypatch, *words, "--store", tmp_path, "--json")
    found = json.loads(out)
    assert code == 0
    assert set(found) == {"schema_version", "radius", "products", "pairs", "lambdas", "center", "top", "seconds"}
    assert found["top"] is None
    articles = len(set(load_corpus("tales", load_checkpoint("opt-nano"), LENGTH).window_articles(
        "validation", 2, 0
    ).tolist()))  # fmt: skip
    assert f"curvature on 2 directions × 2 windows in {articles} article" in text
    assert "λ_max" not in text
    assert found["radius"]["evaluated"] == 0  # the second time
    assert [check["passed"] for check in found["radius"]["health"]] == [None, None, None, None, None, True, None, None]
    for name, way in (("by Hessian products", found["products"]), ("by losses at ±λ", found["pairs"])):
        trace, index = way["trace"], way["index"]
        assert trace["articles"] == articles
        error = f"Tr H = {trace['value']:.4g} ± {trace['standard_error']:.2g} (standard error)"
        assert any(line.startswith(name) and error in line for line in text.splitlines())
        assert f"R/R_quadratic = {index['value']:.3g} [{index['low']:.3g}, {index['high']:.3g}]" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dtype", "bfloat16"], "expected float32 for second derivatives, got bfloat16, which rounds them away"),
        (["--windows", "1"], "expected at least 2 as --windows, got 1"),
    ],
)
def test_bad_requests_are_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run(capsys, monkeypatch, *words, "--store", tmp_path)
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert message in line
