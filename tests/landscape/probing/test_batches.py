"""A window's loss does not depend on the windows that share its batch, and a store keeps the size of its batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from landscape import PRESETS, SurveyRequest, probe
from landscape.probing import batches as batching
from landscape.probing.batches import Batch, batches, fastest_size, same_at_every_place
from landscape.probing.plan import identified
from landscape.probing.runner import Runner
from quant.errors import StoreError
from quant.nll import batch_nll
from tests import tiny

SMALL = replace(PRESETS["quick"], train_windows=2, validation_windows=3, test_windows=2, seq_len=32, alphas=2)


def test_every_batch_has_the_same_number_of_rows() -> None:
    windows = identified(tiny.windows(5))
    found = list(batches(windows, 3))
    assert [len(batch.windows) for batch in found] == [3, 2]
    assert [tuple(batch.tokens.shape) for batch in found] == [(3, 12)] * 2
    assert torch.equal(found[1].tokens, torch.stack([windows[i].tokens for i in (3, 4, 3)]))
    assert [window for batch in found for window in batch.windows] == list(windows)


def test_windows_of_other_lengths_are_in_other_batches() -> None:
    windows = (*identified(tiny.windows(2)), *identified(tiny.windows(1, length=7)))
    assert [tuple(batch.tokens.shape) for batch in batches(windows, 4)] == [(4, 12), (4, 7)]


def test_a_loss_is_that_of_the_window_at_every_place() -> None:
    model, windows = tiny.llama(), identified(tiny.windows(4))
    assert same_at_every_place(model, windows[0].tokens, 4)
    whole = [nll.total for nll in batch_nll(model, Batch(windows, 4).tokens)]
    again = [batch_nll(model, Batch((window,), 4).tokens)[0].total for window in windows]
    assert whole == again


def test_a_model_whose_loss_depends_on_the_place_is_found_out() -> None:
    class Placed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = tiny.llama()

        def forward(self, **inputs: object):
            output = self.inner(**inputs)
            output.logits[1:] *= 1.01
            return output

    assert not same_at_every_place(Placed(), tiny.windows(1)[0], 2)


@pytest.mark.parametrize("size", [2, 3, 8])
def test_a_model_whose_loss_depends_on_the_other_windows_is_found_out(size: int) -> None:
    class Mixed(nn.Module):
        """Scale the logits by a bit that depends on how often a token comes in the whole batch."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = tiny.llama()

        def get_input_embeddings(self) -> nn.Module:
            return self.inner.get_input_embeddings()

        def forward(self, **inputs: Tensor):
            output = self.inner(**inputs)
            output.logits *= 1 + 1e-6 * (inputs["input_ids"] == 7).sum()
            return output

    assert not same_at_every_place(Mixed(), tiny.windows(1)[0], size)


@pytest.mark.parametrize("odd", range(5))
def test_every_place_is_tried_and_the_logits_that_a_loss_hides_are_compared(odd: int) -> None:
    class OddPlace(nn.Module):
        """Make a token that does not come even less probable at one place: exp of both logits is 0."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = tiny.llama()

        def forward(self, **inputs: object):
            output = self.inner(**inputs)
            output.logits[:, :, 0] = -1e4
            output.logits[odd, :, 0] = -2e4
            return output

    window, model = tiny.windows(1)[0].clamp(min=1), OddPlace()
    assert len({loss.total for loss in batch_nll(model, window.expand(5, -1))}) == 1
    assert not same_at_every_place(model, window, 5)


def test_on_a_cpu_one_window_is_a_batch() -> None:
    assert fastest_size(tiny.llama(), tiny.windows(1)[0]) == 1


@pytest.mark.parametrize(
    ("seconds", "sound", "expected"),
    [
        (lambda size: 1.0, lambda size: True, 1),
        (lambda size: 1 / size, lambda size: True, 64),
        (lambda size: 1 / min(size, 8), lambda size: True, 8),
        (lambda size: 1 / size, lambda size: size < 4, 2),
        (lambda size: 1 / size if size < 16 else float("inf"), lambda size: True, 8),
        (lambda size: float("inf"), lambda size: pytest.fail("tried what does not fit"), 1),
    ],
)
def test_a_larger_batch_must_be_faster_and_sound(seconds, sound, expected: int) -> None:
    assert batching._search(seconds, sound) == expected


def test_a_store_keeps_the_size_that_it_was_begun_with(tmp_path: Path) -> None:
    request = SurveyRequest(bits=(2,), methods=("rtn",), directions=2, preset=SMALL, store=tmp_path, batch=2)
    first = probe(request)
    again = probe(replace(request, batch=None))
    assert again.run.probes.evaluated == 0
    assert again.basin.radius == first.basin.radius
    with pytest.raises(StoreError, match=r"expected --batch 2.*got 4; leave --batch out, or use another --store"):
        probe(replace(request, batch=4))


def test_a_run_that_was_interrupted_in_a_batch_is_the_uninterrupted_one_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = SurveyRequest(bits=(2,), methods=("rtn",), directions=2, preset=SMALL, store=tmp_path / "a", batch=3)
    whole = probe(request)
    interrupted = replace(request, store=tmp_path / "b")

    def stop_after(count: int, patch: pytest.MonkeyPatch) -> None:
        own = Runner.__init__

        def begin(self, store, provenance, advance=lambda work: None, *others) -> None:
            left = iter(range(count))

            def each(work: float) -> None:
                if next(left, None) is None:
                    raise KeyboardInterrupt

            own(self, store, provenance, each, *others)

        patch.setattr(Runner, "__init__", begin)

    for count in (7, 11):
        with monkeypatch.context() as patch:
            stop_after(count, patch)
            with pytest.raises(KeyboardInterrupt):
                probe(interrupted)
    resumed = probe(interrupted)
    assert 0 < resumed.run.probes.evaluated < whole.run.probes.evaluated
    assert resumed.points[0].nll == whole.points[0].nll
    assert resumed.basin.radius == whole.basin.radius
