"""What every family goes through, each number against one that was made another way."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from landscape.positions.atlas import Atlas
from landscape.positions.directions import Layers
from landscape.positions.position import CENTER, At, OnRay
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.plan import ProbePlan, identified
from quant import nll
from quant.architecture import decoder_blocks
from quant.center import Center, preserved
from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.checkpoints.export import export_point
from quant.corpora.sampling import sample
from quant.errors import CheckpointError
from quant.grid import GridTensor
from quant.methods.block_stream import walk
from quant.methods.rtn import rtn
from quant.nll import mean_nll, window_nll
from quant.scheme import QuantScheme
from quant.space import WeightSpace
from quant.trunk import AtTrunk, split
from tests.families import by_hand
from tests.families.family import ROUTER, VOCABULARY, Family
from tests.families.inputs import recorded_inputs
from tests.families.training import train_briefly, windows
from tests.tiny_tokenizer import tokenizer

CHANCE = math.log(VOCABULARY)
LEARNT = 1.0  # nats below chance: far above what sampling of 240 tokens could feign
RTN4 = QuantScheme(by_hand.BITS, scale="absmax")


@dataclass
class Subject:
    """A family with its trained model, which every test leaves as it was."""

    family: Family

    @cached_property
    def model(self) -> nn.Module:
        model = self.family.build()
        train_briefly(model, self.family.steps)
        return self.copy(model.state_dict())  # some modules of a model that was trained hold on to its graph

    @cached_property
    def space(self) -> WeightSpace:
        return WeightSpace.of(self.model)

    def copy(self, state: dict[str, Tensor] | None = None) -> nn.Module:
        """Make the trained model again."""
        model = self.family.build()
        model.load_state_dict(self.model.state_dict() if state is None else state)
        return model.requires_grad_(False)


@pytest.mark.usefixtures("_unchanged")
class FamilyChecks:
    """The rows of one kind."""

    kind = ""

    @pytest.fixture
    def _unchanged(self, subject: Subject):
        before = {name: tensor.clone() for name, tensor in subject.model.state_dict().items()}
        yield
        assert all(torch.equal(tensor, before[name]) for name, tensor in subject.model.state_dict().items())

    def test_the_loss_is_that_of_plain_transformers(self, subject: Subject) -> None:
        text = windows(16, seed=99)
        ours = [window_nll(subject.model, window) for window in text]
        theirs = torch.stack([by_hand.token_nll(subject.model, window) for window in text])
        assert [w.total for w in ours] == pytest.approx(theirs.sum(dim=1).tolist(), abs=1e-6 * theirs.shape[1])
        assert mean_nll(ours) == pytest.approx(theirs.mean().item(), abs=1e-6)
        assert mean_nll(ours) < CHANCE - LEARNT

    def test_the_head_in_rows_gives_the_loss_and_the_gradient_of_all_logits(
        self, subject: Subject, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(nll, "HEAD_ROWS", 5)
        text, model = windows(2, seed=98), subject.copy()
        with torch.no_grad():
            ours = nll.token_nll(model, text)
            theirs = torch.stack([by_hand.token_nll(model, window) for window in text])
        assert float((ours - theirs).mean().abs()) <= 1e-6
        assert isinstance(split(model, text[0]), AtTrunk) or subject.family.refusal
        moved = [p for name, p in subject.family.block_parameters(model) if not subject.family.is_outside(name)]
        for parameter in moved:
            parameter.requires_grad_(True)
        slopes = [
            torch.autograd.grad(of(model, text).mean(), moved, materialize_grads=True)
            for of in (nll.token_nll, nll.whole_nll)
        ]
        norm = math.sqrt(sum(float(slope.double().square().sum()) for slope in slopes[1]))
        for by_rows, whole in zip(*slopes, strict=True):
            assert float((by_rows - whole).double().norm()) <= 1e-5 * norm

    def test_w_holds_the_matrices_of_the_blocks_and_says_what_else_there_is(self, subject: Subject) -> None:
        family, model = subject.family, subject.model
        names = [name for name, _ in family.block_parameters(model)]
        assert all(any(fnmatchcase(name, glob) for name in names) for glob in family.outside)
        if family.refusal:
            with pytest.raises(CheckpointError, match=family.refusal):
                WeightSpace.of(model)
            pytest.skip(f"refused: {family.refusal}")
        assert subject.space.dimension == family.dimension(model)
        block_of = re.compile(rf"{re.escape(family.stack)}\.\d+\.")
        for outside in subject.space.outside:
            (reason,) = {
                why for glob, why in family.outside.items() if fnmatchcase(block_of.sub("", outside.name), glob)
            }
            assert (outside.kind == "router") == (reason == ROUTER), outside.name
        expected = {(name, index): tuple(matrix.shape) for name, index, matrix in by_hand.matrices(family, model)}
        assert {(slot.parameter, slot.index): slot.shape for slot in subject.space} == expected

    def test_rtn_is_rounding_by_hand(self, measured: Subject) -> None:
        copy, text = measured.copy(), windows(4, seed=3)
        for _, _, matrix in by_hand.matrices(measured.family, copy):
            matrix.copy_(by_hand.rounded(matrix))
        model, space = measured.model, measured.space
        with preserved(model, space) as center:
            space.write(model, rtn(space, center, RTN4))
            ours = mean_nll([window_nll(model, window) for window in text])
        assert ours == pytest.approx(by_hand.mean_nll(copy, text), abs=1e-6)
        assert abs(ours - by_hand.mean_nll(model, text)) > 1e-4

    def test_hessians_are_those_of_the_inputs_in_the_whole_forward(self, measured: Subject) -> None:
        check_hessians(measured.model, measured.space)

    def test_replayed_blocks_change_no_bit(self, measured: Subject) -> None:
        model, space, text = measured.model, measured.space, identified(windows(2, seed=5))
        blocks = decoder_blocks(model)[1]
        families = {f.name: f for f in (Layers(space, f"block={i}") for i in sorted({1, len(blocks) - 1}))}
        rays = [OnRay(name, index, lam) for name in families for index in (0, 1) for lam in (0.5, -2.0)]
        plan = ProbePlan.of([At(CENTER), *rays], text)
        atlas = Atlas(Center.of(model, space), {}, families)
        with _runs(blocks[0]) as runs:
            ours = [result.total for result in InlineEngine(model, space, atlas).evaluate(plan)]
        plainly = []
        with preserved(model, space):
            for step in plan.steps:
                space.write(model, atlas.vector(step.position))
                plainly += [window_nll(model, window.tokens).total for window in step.windows]
        assert ours == plainly
        assert len(set(ours)) == len(ours)
        assert (min(runs.values()) < len(ours)) == (not measured.family.between_blocks)

    def test_its_own_text_is_drawn_from_what_a_plain_forward_predicts(self, measured: Subject) -> None:
        checkpoint = Checkpoint("tiny", measured.model, tokenizer(), "f" * 64, measured.space)
        drawn = torch.rand(4, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(11))
        for ids, uniform in zip(sample(checkpoint, 0, drawn, lambda line: None), drawn, strict=True):
            with torch.no_grad():
                logits = measured.model(input_ids=ids[None], use_cache=False).logits[0, :-1].double()
            above = torch.softmax(logits, dim=-1).cumsum(dim=-1).gather(1, ids[1:, None])[:, 0]
            below = above - torch.softmax(logits, dim=-1).gather(1, ids[1:, None])[:, 0]
            assert bool(((below - 1e-6 <= uniform) & (uniform < above + 1e-6)).all())

    def test_a_folder_is_loaded_and_an_export_loads_again(self, measured: Subject, tmp_path: Path) -> None:
        text = windows(4, seed=6)
        measured.model.save_pretrained(tmp_path / "model")
        tokenizer().save_pretrained(tmp_path / "model")
        checkpoint = load_checkpoint(str(tmp_path / "model"))
        loaded = by_hand.mean_nll(checkpoint.model, text)  # elsewhere in memory, sums may be made in another order
        assert loaded == pytest.approx(by_hand.mean_nll(measured.model, text), abs=1e-7)
        with preserved(checkpoint.model, checkpoint.space) as center:
            point = rtn(checkpoint.space, center, RTN4)
            checkpoint.space.write(checkpoint.model, point)
            ours = mean_nll([window_nll(checkpoint.model, window) for window in text])
        export_point(checkpoint, point, tmp_path / "export")
        again = AutoModelForCausalLM.from_pretrained(tmp_path / "export", dtype=torch.float32)
        assert ours == pytest.approx(by_hand.mean_nll(again, text), abs=1e-6)
        with safe_open(tmp_path / "export/codes/quantization.safetensors", framework="pt") as file:
            for slot in measured.space:
                part = point.parts[slot.name]
                assert isinstance(part, GridTensor)
                assert torch.equal(file.get_tensor(f"{slot.name}.codes"), part.codes)
                assert torch.equal(file.get_tensor(f"{slot.name}.scale"), part.scale)


def check_hessians(model: nn.Module, space: WeightSpace) -> None:
    """Hold every Hessian, magnitude and count of tokens against the recorded inputs of a whole forward."""
    text = windows(3, seed=4)
    inputs, seen = recorded_inputs(model, text), []
    for shared in walk(model, space, text):
        for slot in shared.slots:
            x = inputs[slot.parameter, slot.index]
            assert shared.tokens == len(x), slot.name
            if len(x):
                expected = 2 / len(x) * x.T @ x
                assert (shared.hessian - expected).norm() <= 1e-6 * expected.norm(), slot.name
                torch.testing.assert_close(shared.magnitude, x.abs().mean(0), rtol=1e-5, atol=1e-7)
            seen.append(slot)
    assert sorted(seen, key=lambda slot: slot.offset) == list(space)


class _runs:  # noqa: N801 - a context
    """How often each innermost module of a block was called."""

    def __init__(self, block: nn.Module) -> None:
        self._inner = [module for module in block.modules() if not any(True for _ in module.children())]

    def __enter__(self) -> Counter[int]:
        runs: Counter[int] = Counter()
        self._handles = [m.register_forward_hook(lambda *_, i=i: runs.update([i])) for i, m in enumerate(self._inner)]
        return runs

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
