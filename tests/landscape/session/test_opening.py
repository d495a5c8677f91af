"""Check that a store keeps only batches in which a window's loss does not depend on the other windows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import MixtralConfig, MixtralForCausalLM
from transformers.modeling_outputs import CausalLMOutputWithPast

from landscape.positions.position import CENTER
from landscape.probing import batches
from landscape.probing.plan import Probe, point_plan
from landscape.radius import RadiusRequest
from landscape.session import opening
from landscape.session.opening import frozen_batch
from landscape.session.session import Session
from landscape.session.subject import Subject
from quant import load_checkpoint, memory
from quant.errors import StoreError, UsageError
from quant.space import WeightSpace
from tests.landscape.stores import store

LENGTH, WINDOWS = 12, 40


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random mixture that is wide enough for its experts' products to differ in the last bits with their rows."""
    folder, tokenizer = tmp_path_factory.mktemp("mixture"), load_checkpoint().tokenizer
    config = MixtralConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=8, num_experts_per_tok=2, initializer_range=0.1,
        max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        MixtralForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def as_on_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two windows are faster than one."""
    monkeypatch.setattr(opening, "fastest_size", lambda model, window: 2)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def losses(request: RadiusRequest, first: int) -> dict[str, float]:
    """Losses at w, by the window, of a plan that leaves the first windows out."""
    with Session.open(request) as session:
        windows = session.windows[first:WINDOWS]
        session.evaluate(point_plan([CENTER], windows))
        return {w.identity: session.runner.known[Probe(CENTER, w.identity)].total for w in windows}


@pytest.mark.parametrize("exclude", [(), ("*.experts.*",)], ids=["experts in w", "experts left out"])
def test_a_plan_of_a_mixture_without_its_first_window_gives_the_same_losses_to_the_bit(
    mixture: Path, exclude: tuple[str, ...], tmp_path: Path, as_on_a_card: None, one_thread: None
) -> None:
    request = RadiusRequest(model=str(mixture), data="tales", seq_len=LENGTH, exclude=exclude, store=tmp_path / "a")
    whole, less = losses(request, 0), losses(replace(request, store=tmp_path / "b"), 1)
    assert len(whole) == WINDOWS == len(less) + 1
    assert less.items() <= whole.items()


def test_batches_would_change_the_losses_of_that_mixture(
    mixture: Path, tmp_path: Path, as_on_a_card: None, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the test above would pass with any batch."""
    monkeypatch.setattr(opening, "routes_tokens", lambda space: False)
    request = RadiusRequest(model=str(mixture), data="tales", seq_len=LENGTH, store=tmp_path / "a")
    whole, less = losses(request, 0), losses(replace(request, store=tmp_path / "b"), 1)
    if less.items() <= whole.items():
        pytest.skip("on this machine, a row of a product does not depend on the number of rows")
    with pytest.raises(UsageError, match="expected losses that do not depend on the other windows of a batch"):
        losses(replace(request, store=tmp_path / "c", batch=2), 0)  # the trial finds it too


def test_batches_are_refused_for_a_mixture(mixture: Path, tmp_path: Path) -> None:
    request = RadiusRequest(model=str(mixture), data="tales", seq_len=LENGTH, store=tmp_path, batch=2)
    with pytest.raises(UsageError) as refused:
        losses(request, 0)
    assert str(refused.value) == (
        "expected one window at a time for a model with experts, whose products depend on all windows of a batch, got "
        "--batch 2; leave --batch out"
    )
    assert len(losses(replace(request, batch=1), WINDOWS - 1)) == 1
    (kept,) = tmp_path.glob("*/batch-*.json")
    kept.write_text(json.dumps({"schema_version": 1, "settings": {"windows": 2}}))  # of an earlier version
    for batch in (None, 1):
        with pytest.raises(
            StoreError, match=r"expected one window at a time .*found batches of 2 in .*another --store"
        ):
            losses(replace(request, batch=batch), 0)


# ---- a model without experts ----------------------------------------------------------------------------------------


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    with Session.open(RadiusRequest(seq_len=LENGTH, store=tmp_path / "subject")) as session:
        return session.subject


def scale_others(module: nn.Module, args: object, output: CausalLMOutputWithPast) -> None:
    """Scale the logits of all windows but the first."""
    assert output.logits is not None
    output.logits[1:] *= 1.01


def test_a_batch_that_is_asked_for_is_tried_before_the_store_keeps_it(subject: Subject, tmp_path: Path) -> None:
    kept, window = store(tmp_path), subject.windows["validation"][0].tokens
    handle = subject.model.register_forward_hook(scale_others)
    assert frozen_batch(store(tmp_path / "one"), subject, window, 1) == 1
    with pytest.raises(UsageError) as refused:
        frozen_batch(kept, subject, window, 2)
    assert str(refused.value) == (
        "expected losses that do not depend on the other windows of a batch, got some that do with --batch 2; use "
        "--batch 1, or leave --batch out"
    )
    assert not list(kept.folder.glob("batch-*"))
    handle.remove()
    assert frozen_batch(kept, subject, window, 2) == 2
    assert frozen_batch(kept, subject, window, None) == 2


def test_a_batch_is_tried_once_and_only_where_it_fits(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, trials, trial = store(tmp_path), [], batches.same_at_every_place
    window, left = subject.windows["validation"][0].tokens, [10**6]
    monkeypatch.setattr(memory, "available_host_memory", lambda: left[0])
    monkeypatch.setattr(opening, "same_at_every_place", lambda *args: trials.append(args[2]) or trial(*args))
    with pytest.raises(UsageError, match="expected this run to fit in the 1 MB of host memory"):
        frozen_batch(kept, subject, window, 2)
    assert trials == []
    left[0] = 10**12
    assert frozen_batch(kept, subject, window, 2) == 2
    left[0] = 10**6  # what is in the cache needs no room
    assert frozen_batch(kept, subject, window, 2) == 2
    assert trials == [2]


def test_a_model_has_experts_whether_its_weight_space_holds_them_or_not(mixture: Path) -> None:
    model = load_checkpoint(str(mixture)).model
    assert batches.routes_tokens(WeightSpace.of(model))
    left_out = WeightSpace.of(model, exclude=["*.experts.*"])
    assert not any(slot.expert for slot in left_out)
    assert batches.routes_tokens(left_out)
    assert not batches.routes_tokens(load_checkpoint().space)


def test_losses_name_the_processor_that_computed_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "processor_name", lambda: "ACME 12 Core")
    assert opening.provenance("cpu")["processor"] == "ACME 12 Core"
