"""Check the benchmark of a card on the CPU: its sums, its operations, and what it says it did not measure."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gpu
from benchmarks.gpu import Bench, HostSphere
from landscape.positions.directions import Sphere
from quant.space import WeightSpace

CPU = torch.device("cpu")
SHAPE = gpu.SMALL["tiny"]


@pytest.fixture
def bench() -> Bench:
    return Bench(CPU, 32)


def test_without_a_card_the_tables_say_what_was_not_measured() -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--length", "8"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = {line.strip()[:36].strip(): line.strip()[36:].strip() for line in printed.splitlines() if line[:2] == "  "}
    assert len([row for row in rows if row.endswith("card against CPU")]) == 3
    for row, value in rows.items():
        needs_card = (
            "card against CPU" in row or "TF32" in row or row in ("125M, any", "1B, any", "tiny, drawn on the card")
        )
        assert value.startswith("not measured") == needs_card, row
    assert "of the roofline" in rows["tiny, bfloat16"]


def test_operations_are_those_that_torch_counts(bench: Bench) -> None:
    model, length = bench.model(SHAPE), 32
    model.set_attn_implementation("eager")  # type: ignore[operator]  - products that the counter sees
    with FlopCounterMode(display=False) as counter:
        model(input_ids=bench.windows(3, 256), use_cache=False)
    counted = counter.get_total_flops()
    causal_half = 2 * 3 * length**2 * 64 * 2  # eager attention multiplies the masked half too
    rotary = counted - gpu.flops(model, 3, length) - causal_half
    assert 0 <= rotary < 0.01 * counted


def test_the_roofline_makes_all_products_and_nothing_else(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    model, attended = bench.model(SHAPE), []
    monkeypatch.setattr(gpu, "scaled_dot_product_attention", lambda q, k, v, is_causal: attended.append(q.shape))
    with FlopCounterMode(display=False) as counter:
        gpu.roofline(model, 2, 32)()
    linear = 2 * 2 * 32 * sum(weight.numel() for weight in gpu.products(model))
    assert counter.get_flop_counts()["Global"] == {torch.ops.aten.mm: linear}
    assert attended == [(2, 4, 32, 16)] * 2


def test_agreement_is_judged_by_differences_that_exist(bench: Bench) -> None:
    a, b = bench.model(SHAPE), bench.model(SHAPE)
    windows = bench.windows(2, 256)
    assert gpu.nll_difference(a, b, windows) == gpu.direction_difference(a, b) == 0
    b.lm_head.weight.data[0, 0] += 1.0  # type: ignore[union-attr]
    assert gpu.nll_difference(a, b, windows) > 1e-6


def test_r_is_measured_once_on_each_device() -> None:
    first, _, second = gpu.radius_difference("cpu", "cpu").partition(" against ")
    assert float(first) == float(second.partition(" ")[0])
    assert second.endswith("]")


def test_directions_of_the_host_are_those_of_the_sphere(bench: Bench) -> None:
    space = WeightSpace.of(bench.model(SHAPE))
    ours, theirs = HostSphere(space).draw(0), Sphere(space).draw(0)
    assert all(torch.equal(ours.tensor(slot), theirs.tensor(slot)) for slot in space)
    assert not HostSphere(space).redrawn_on(torch.device("cuda"))


def test_nothing_is_begun_after_the_limit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "LIMIT", -1.0)
    assert next(gpu.throughput(bench))[1] == "not measured (out of time)"
