"""GPTQ against llm-compressor on one grid and the same windows: codes recorded by ``benchmarks.methods.peer_gptq``."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from quant.center import Center
from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.corpora.corpus import load_corpus
from quant.grid import Grid
from quant.hashing import tensor_bytes, token_record
from quant.methods.gptq import gptq
from quant.methods.layer_error import LayerHessians
from quant.methods.options import GPTQOptions
from quant.point import WeightPoint
from quant.scheme import QuantScheme
from quant.space import Slot, WeightSpace

RECORD = Path(__file__).parent / "data" / "peer-gptq.safetensors"


@dataclass(frozen=True)
class Peer:
    """What llm-compressor made of some matrices, and the same matrices here."""

    nano: Checkpoint
    space: WeightSpace
    windows: Tensor
    hessians: LayerHessians
    start: WeightPoint
    codes: dict[str, Tensor]
    options: dict[str, Any]

    def agreement(self, dampings: dict[str, float]) -> dict[str, float]:
        """Share of equal codes in each matrix, with a damping for each."""
        return {name: self._agreement(name, damping) for name, damping in dampings.items()}

    def _agreement(self, name: str, damping: float) -> float:
        options = GPTQOptions((damping,), self.options["block_size"], "fp", act_order=self.options["act_order"])
        space = WeightSpace(tuple(slot for slot in self.space if slot.name == name))
        hessians = LayerHessians(tuple(h for h in self.hessians.shared if h.slots == space.slots), self.hessians.tokens)
        point = gptq(self.nano.model, space, self.start, self.windows, options, hessians=hessians)
        return float((point.grid_tensor(space.slots[0]).codes == self.codes[name]).float().mean())

    def inputs(self) -> dict[str, Tensor]:
        """diag H of each matrix: 2/n Σ x² of its inputs, per token."""
        return {h.slots[0].name: h.hessian.diagonal() for h in self.hessians.shared}


@pytest.fixture(scope="module")
def peer() -> Peer:
    with safe_open(RECORD, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        record = json.loads(file.metadata()["provenance"])
    nano = load_checkpoint()
    space = WeightSpace(tuple(slot for slot in nano.space if f"{slot.name}.codes" in tensors))
    of = record["windows"]
    corpus = load_corpus(of["corpus"], nano, of["shape"][1])
    windows = corpus.windows(of["split"], of["shape"][0], of["seed"])
    assert token_record(windows) == {"sha256": of["sha256"], "shape": of["shape"]}
    center = Center.of(nano.model, space)
    for slot in space:
        digest = hashlib.sha256(tensor_bytes(center.tensor(slot))).hexdigest()
        assert digest == record["weights"][slot.name.removesuffix(".weight")]
    grid = record["grid"]
    grids = {s.name: Grid(tensors[f"{s.name}.scale"], grid["low"], grid["high"], None, grid["group"]) for s in space}
    parts = {slot.name: grids[slot.name].quantize(center.tensor(slot)) for slot in space}
    start = WeightPoint("rtn", QuantScheme(grid["bits"], "absmax", f"group:{grid['group']}"), parts)
    codes = {slot.name: tensors[f"{slot.name}.codes"] for slot in space}
    hessians = LayerHessians.collect(nano.model, space, windows)
    return Peer(nano, space, windows, hessians, start, codes, record["options"])


def test_the_recorded_matrices_have_dead_inputs_and_the_scales_of_their_tool(peer: Peer) -> None:
    dead = [int((diagonal == 0).sum()) for diagonal in peer.inputs().values()]
    assert dead == [69, 105]
    for slot in peer.space:
        assert torch.allclose(_absmax(peer.nano, slot) / 7.5, peer.start.grid_tensor(slot).scale, rtol=1e-6)
        assert peer.codes[slot.name].min() == -8
        assert not torch.equal(peer.codes[slot.name], peer.start.grid_tensor(slot).codes)


def test_codes_agree_where_the_dampings_are_the_same_number(peer: Peer) -> None:
    """Their unit is the mean over all inputs, a dead one counting as 1 in an H per sequence; ours over live ones."""
    length = peer.windows.shape[1]
    same = {name: peer.options["damping"] * _ratio(diagonal, 1 / length) for name, diagonal in peer.inputs().items()}
    shares = peer.agreement(same)
    assert min(shares.values()) >= 0.998, shares


def test_codes_nearly_agree_where_the_damping_is_the_same_multiple_of_the_mean_over_live_inputs(peer: Peer) -> None:
    shares = peer.agreement(dict.fromkeys(peer.inputs(), peer.options["damping"]))
    assert min(shares.values()) > 0.975, shares
    assert max(shares.values()) < 0.998, shares  # that it is another number is seen


def test_codes_agree_less_where_dead_inputs_count_as_one_in_an_h_per_token(peer: Peer) -> None:
    """As this damping once was: 4.6 and 4.8 times what was said."""
    inflated = {name: peer.options["damping"] * _ratio(diagonal, 1.0) for name, diagonal in peer.inputs().items()}
    assert all(damping > 4 * peer.options["damping"] for damping in inflated.values())
    shares = peer.agreement(inflated)
    assert max(shares.values()) < 0.96, shares


def _ratio(diagonal: Tensor, dead: float) -> float:
    """The mean of diag H with a value for each dead input, over the mean of its live ones."""
    live = diagonal[diagonal > 0]
    return float((live.sum() + dead * (diagonal == 0).sum()) / len(diagonal) / live.mean())


def _absmax(nano: Checkpoint, slot: Slot) -> Tensor:
    weight = nano.model.get_parameter(slot.name).detach()
    return weight.view(len(weight), -1, 32).abs().amax(-1)
