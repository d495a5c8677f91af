import math

import pytest
import torch
from torch import nn
from transformers import Gemma2Config, Gemma2ForCausalLM

from quant.nll import batch_nll, hidden_states
from quant.trunk import AtTrunk, Whole, split
from tests.tiny import ARCHITECTURES, VOCABULARY, windows


class Smeared(nn.Module):
    """A model that mixes a share of the mean over the tokens so far into the logits, which no row gives alone."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.inner = ARCHITECTURES["llama"]()
        self.config, self.get_output_embeddings = self.inner.config, self.inner.get_output_embeddings

    def forward(self, **inputs: object):
        output = self.inner(**inputs)
        counts = torch.arange(1, output.logits.shape[1] + 1)[:, None]
        output.logits = output.logits.lerp(output.logits.cumsum(1) / counts, self.share)
        return output


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_follow_from_hidden_states_row_by_row(name: str) -> None:
    model, ids = ARCHITECTURES[name](), windows(3)
    parts = split(model, ids[0])
    assert isinstance(parts, AtTrunk)
    with torch.no_grad():
        whole = model(input_ids=ids, use_cache=False).logits
        hidden = parts.hidden(ids)
        some = torch.tensor([0, 4, 5])
        rows = parts.logits(hidden[1][some], ids[1][some])
    torch.testing.assert_close(rows, whole[1][some])


def test_the_trunk_runs_once_and_the_head_sees_the_rows_asked_for() -> None:
    model, ids, runs = ARCHITECTURES["llama"](), windows(1, 12), []
    parts = split(model, ids[0])
    model.model.layers[0].register_forward_hook(lambda *_: runs.append("trunk"))
    model.lm_head.register_forward_hook(lambda module, args, output: runs.append(output.shape))
    with torch.no_grad():
        hidden = parts.hidden(ids)[0]
        parts.logits(hidden[:7], ids[0, :7])
    assert runs == ["trunk", (1, 7, VOCABULARY)]


def test_scaled_and_capped_logits_are_the_models_own() -> None:
    config = Gemma2Config(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, final_logit_softcapping=0.05,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Gemma2ForCausalLM(config).eval()
    ids = windows(1)
    with torch.no_grad():
        parts = split(model, ids[0])
        logits = parts.logits(parts.hidden(ids)[0], ids[0])
        torch.testing.assert_close(logits, model(input_ids=ids, use_cache=False).logits[0])
        uncapped = model.lm_head(parts.hidden(ids)[0])
    assert float(uncapped.abs().max()) > 0.05 > float(logits.abs().max())


@pytest.mark.parametrize(
    ("share", "dtype"),
    [(1.0, torch.float32), (1e-3, torch.float32), (0.05, torch.bfloat16), (0.01, torch.float16)],
    ids=str,
)
def test_a_model_that_mixes_rows_after_its_trunk_is_not_split(share: float, dtype: torch.dtype) -> None:
    model, ids = Smeared(share).eval().to(dtype), windows(1)
    parts = split(model, ids[0])
    assert isinstance(parts, Whole)
    with torch.no_grad():
        logits = model(input_ids=ids).logits
        torch.testing.assert_close(parts.logits(parts.hidden(ids)[0, :5], ids[0, :5]), logits[0, :5])


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_rounding_in_half_precision_does_not_keep_a_model_whole(name: str, dtype: torch.dtype) -> None:
    assert isinstance(split(ARCHITECTURES[name]().to(dtype), windows(1)[0]), AtTrunk)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_decide_nothing(broken: float) -> None:
    model, smeared, ids = ARCHITECTURES["llama"](), Smeared(0.1).eval(), windows(2, 300)
    for each in (model, smeared):
        head = each.get_output_embeddings()
        kept = head.weight.detach().clone()
        with torch.no_grad():
            head.weight.fill_(broken)
            assert isinstance(split(each, ids[0]), Whole)
            assert not any(math.isfinite(found.total) for found in batch_nll(each, ids))
            head.weight.copy_(kept)
    assert isinstance(split(model, ids[0]), AtTrunk)
    assert isinstance(split(smeared, ids[0]), Whole)


def test_words_that_a_model_rules_out_hide_nothing() -> None:
    class Masked(Smeared):
        def forward(self, **inputs: object):
            output = super().forward(**inputs)
            output.logits[..., 5:9] = torch.finfo(output.logits.dtype).min
            output.logits[..., 9] = -math.inf
            return output

    ids = windows(1)
    assert isinstance(split(Masked(0.0), ids[0]), AtTrunk)
    assert isinstance(split(Masked(1e-3), ids[0]), Whole)


def test_the_forward_pass_is_as_before_after_an_error() -> None:
    model, ids = ARCHITECTURES["llama"](), windows(1)
    parts = split(model, ids[0])
    with torch.no_grad():
        before = model(input_ids=ids, use_cache=False).logits
        hidden = parts.hidden(ids)[0]
        with pytest.raises(RuntimeError):
            parts.logits(hidden[:, :-1], ids[0])  # too few features for the head
        assert torch.equal(model(input_ids=ids, use_cache=False).logits, before)
    assert not model.model._forward_hooks
    assert "forward" not in vars(model.model)


def test_a_head_tied_to_trained_embeddings_trains() -> None:
    for name in ("opt", "llama"):
        model = ARCHITECTURES[name]().requires_grad_(False)
        parts = split(model, windows(1)[0])
        assert not parts.trains
        model.get_output_embeddings().weight.requires_grad_(True)
        assert parts.trains


def test_hidden_states_are_those_before_each_scored_token() -> None:
    model, ids = ARCHITECTURES["llama"](), windows(2, 200)
    with torch.no_grad():
        whole = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    torch.testing.assert_close(hidden_states(model, ids), whole.reshape(-1, whole.shape[-1]))
