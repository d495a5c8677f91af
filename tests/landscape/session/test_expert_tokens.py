"""Check a mixture of experts as a user meets it: its report counts the calibration tokens, all of it is measured."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from benchmarks import expert_model
from landscape import PRESETS, SurveyRequest, SurveyResult, probe, to_json
from landscape.cli import main
from landscape.quantize import QuantizeRequest, quantize
from landscape.report.survey.page import page
from landscape.session.expert_tokens import ExpertTokens
from quant import Checkpoint, WeightPoint, export_point, load_checkpoint, load_corpus
from quant.nll import window_nll
from quant.point import PointTensor
from tests import synthetic

PRESET = replace(
    PRESETS["quick"], train_windows=2, validation_windows=2, test_windows=2, seq_len=64, lambdas=4, alphas=3,
    calibration_windows=8, qaft_examples=16, qaft_epochs=2, rates=dict.fromkeys(range(2, 9), (1e-3,)), refinements=1,
)  # fmt: skip
SHAPE = {
    "hidden_size": 48, "intermediate_size": 64, "moe_intermediate_size": 32, "num_hidden_layers": 2,
    "head_dim": 12, "max_position_embeddings": 128,
}  # fmt: skip
BITS = (4, 2)


@pytest.mark.parametrize(
    ("few", "none", "said"),
    [
        (0, 0, "All 64 matrices of experts saw at least as many calibration tokens as they have inputs."),
        (4, 0, "64 matrices of experts: 60 saw at least as many calibration tokens as they have inputs, 4 saw fewer;"),
        (
            0,
            2,
            "64 matrices of experts: 62 saw at least as many calibration tokens as they have inputs, 2 saw none and",
        ),
        (
            4,
            2,
            "58 saw at least as many calibration tokens as they have inputs, 4 saw fewer, 2 saw none and keep RTN's",
        ),
    ],
)
def test_the_sentence_counts_the_experts_that_saw_too_few_tokens(few: int, none: int, said: str) -> None:
    found = ExpertTokens.of({"experts": {"matrices": 64, "fewer tokens than inputs": few, "no tokens": none}})
    assert found is not None
    assert said in found.sentence
    assert ("--calibration-windows" in found.sentence) == bool(few or none)


@pytest.mark.parametrize(
    "provenance", [{}, {"experts": {"matrices": 0, "fewer tokens than inputs": 0, "no tokens": 0}}, {"experts": "all"}]
)
def test_nothing_is_said_of_a_point_without_calibrated_experts(provenance: dict[str, object]) -> None:
    assert ExpertTokens.of(provenance) is None


def test_page_and_json_give_the_counts_of_the_point_that_has_them() -> None:
    found = synthetic.landscape()
    points = tuple(
        replace(point, experts=ExpertTokens(64, 4, 2) if point.method == "gptq" else None) for point in found.points
    )
    found = replace(found, points=points)
    for point in to_json(found)["points"]:
        assert point["experts"] == ({"matrices": 64, "few": 4, "none": 2} if point["method"] == "gptq" else None)
    assert page(found).count("4 saw fewer, 2 saw none") == sum(point.method == "gptq" for point in points)


@dataclass(frozen=True)
class Mixture:
    """A small mixture trained for a moment, its survey, and its points."""

    folder: Path
    cache: Path
    checkpoint: Checkpoint
    landscape: SurveyResult

    def point(self, method: str, bits: int) -> WeightPoint:
        request = QuantizeRequest(
            model=str(self.folder), data="tales", bits=bits, method=method, preset=PRESET, store=self.cache
        )
        return quantize(request).point


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    folder, cache = tmp_path_factory.mktemp("mixture"), tmp_path_factory.mktemp("cache")
    nano = load_checkpoint()
    torch.manual_seed(0)
    model = expert_model.build_model(len(nano.tokenizer), **SHAPE)
    expert_model.train(model, load_corpus("tales", nano, 64).windows("train"), steps=120)
    model.save_pretrained(folder)
    nano.tokenizer.save_pretrained(folder)
    survey = SurveyRequest(model=str(folder), data="tales", bits=BITS, directions=2, preset=PRESET, store=cache)
    return Mixture(folder, cache, load_checkpoint(str(folder)), probe(survey))


@pytest.mark.slow
def test_l_of_w_is_that_of_plain_transformers_well_below_chance(mixture: Mixture) -> None:
    model = AutoModelForCausalLM.from_pretrained(mixture.folder, dtype=torch.float32)
    corpus = load_corpus("tales", mixture.checkpoint, PRESET.seq_len)
    losses = [_by_hand(model, window) for window in corpus.windows("validation", PRESET.validation_windows)]
    assert mixture.landscape.center["validation"] == pytest.approx(torch.cat(losses).mean().item(), abs=1e-6)
    assert mixture.landscape.center["validation"] < mixture.landscape.subject.chance - 1.5
    assert all(check.passed is not False for check in mixture.landscape.run.health)


@pytest.mark.slow
def test_w_holds_all_matrices_of_the_blocks_beside_the_router(mixture: Mixture) -> None:
    named = mixture.checkpoint.model.named_parameters()
    matrices = {name: p.numel() for name, p in named if name.startswith("model.layers.") and p.ndim > 1}
    routers = sum(size for name, size in matrices.items() if ".mlp.gate." in name)
    assert mixture.landscape.subject.dimension == sum(matrices.values()) - routers
    assert routers == 2 * 8 * 48


@pytest.mark.slow
@pytest.mark.parametrize("bits", BITS)
def test_points_of_experts_share_rtn_s_grid_and_gptq_lowers_their_error(mixture: Mixture, bits: int) -> None:
    space = mixture.checkpoint.space
    points = {method: mixture.point(method, bits) for method in ("rtn", "gptq", "qaft")}
    for slot in space:
        parts = [point.grid_tensor(slot) for point in points.values()]
        assert all(torch.equal(part.scale, parts[0].scale) for part in parts)
        assert all(part.codes.abs().max() <= 2 ** (bits - 1) - 1 for part in parts)
    moved = [s for s in space if s.expert and _differ(points["qaft"].parts[s.name], points["rtn"].parts[s.name])]
    assert len(moved) > 16 or bits == 4  # of 32 matrices of experts; at 4 bits a step may be more than QAFT moves
    records = points["gptq"].provenance["layers"]
    for slot in space:
        if slot.expert and records[slot.name]["tokens"]:
            assert records[slot.name]["error"] < records[slot.name]["rtn_error"]
        elif slot.expert:
            assert not _differ(points["gptq"].parts[slot.name], points["rtn"].parts[slot.name])


@pytest.mark.slow
def test_the_survey_counts_the_experts_of_gptq_s_points(mixture: Mixture) -> None:
    for found in mixture.landscape.points:
        assert (found.experts is not None) == (found.method == "gptq")
        if found.experts is not None:
            layers = mixture.point("gptq", found.bits or 0).provenance["layers"]
            tokens = [(s.inputs, layers[s.name]["tokens"]) for s in mixture.checkpoint.space if s.expert]
            few = sum(0 < seen < inputs for inputs, seen in tokens)
            assert found.experts == ExpertTokens(32, few, sum(not seen for _, seen in tokens))


@pytest.mark.slow
def test_the_export_has_the_codes_of_every_expert_and_loads_to_the_same_loss(mixture: Mixture, tmp_path: Path) -> None:
    point, space = mixture.point("gptq", 2), mixture.checkpoint.space
    export_point(mixture.checkpoint, point, tmp_path / "out")
    codes = load_file(tmp_path / "out" / "codes" / "quantization.safetensors")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    parameters = dict(model.named_parameters())
    for slot in space:
        on_grid = codes[f"{slot.name}.codes"].float() * codes[f"{slot.name}.scale"]
        assert torch.equal(on_grid, slot.slice(parameters[slot.parameter].detach()))
    windows = load_corpus("tales", mixture.checkpoint, PRESET.seq_len).windows("test", PRESET.test_windows)
    loss = torch.cat([_by_hand(model, window) for window in windows]).mean().item()
    (probed,) = (p for p in mixture.landscape.points if (p.method, p.bits) == ("gptq", 2))
    assert loss == pytest.approx(probed.nll["test"], abs=1e-6)


@pytest.mark.slow
def test_an_expert_that_a_window_is_not_routed_to_does_not_change_its_loss(mixture: Mixture) -> None:
    checkpoint = load_checkpoint(str(mixture.folder))
    window = load_corpus("tales", checkpoint, 4).windows("validation", 1)[0]
    used = _experts_used(checkpoint.model, window[:-1])  # nothing is scored after the last token
    before, idle = window_nll(checkpoint.model, window).total, 0
    for slot, weight in checkpoint.space.weights(checkpoint.model):
        if not slot.expert:
            continue
        kept = weight.clone()
        weight.add_(0.1)
        after = window_nll(checkpoint.model, window).total
        weight.copy_(kept)
        routed = slot.index in used[slot.parameter.rpartition(".")[0]]
        assert (after != before) == routed, slot.name
        idle += not routed
    assert idle > 0


@pytest.mark.slow
def test_quantize_says_how_many_experts_saw_too_few_tokens(
    mixture: Mixture, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--bits", "3", "--method", "gptq", "--seq-len", "8", "--calibration-windows", "1"]
    place = ["--model", str(mixture.folder), "--store", str(mixture.cache), "--export", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["landscape", "quantize", "--data", "tales", *words, *place])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    record = json.loads((tmp_path / "out" / "codes" / "quantization.json").read_text())["provenance"]["experts"]
    assert record["fewer tokens than inputs"] > 0  # a window of 8 tokens reaches 2 experts per token
    said = " ".join(capsys.readouterr().out.split())
    assert f"{record['fewer tokens than inputs']} saw fewer" in said
    assert (f"{record['no tokens']} saw none and keep RTN's codes" in said) == bool(record["no tokens"])


def _by_hand(model: nn.Module, window: Tensor) -> Tensor:
    """−ln p of each scored token in float64, from the logits of a plain forward."""
    with torch.no_grad():
        logits = model(window[None]).logits[0, :-1].double()
    return torch.logsumexp(logits, dim=-1) - logits[torch.arange(len(window) - 1), window[1:]]


def _differ(a: PointTensor, b: PointTensor) -> bool:
    return not torch.equal(a.codes, b.codes)  # type: ignore[union-attr]


def _experts_used(model: nn.Module, window: Tensor) -> dict[str, set[int]]:
    """The experts that a window is routed to, by the name of their layer."""
    used: dict[str, set[int]] = {}
    layers = {name: module for name, module in model.named_modules() if name.endswith(".experts")}
    handles = [
        module.register_forward_pre_hook(
            lambda m, args, name=name: used.update({name: set(args[1].flatten().tolist())})
        )
        for name, module in layers.items()
    ]
    with torch.no_grad():
        model(window[None])
    for handle in handles:
        handle.remove()
    return used
