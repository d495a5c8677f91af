import pytest
import torch
from torch import nn
from transformers import Gemma2Config, Gemma2ForCausalLM

from quant.nll import hidden_states
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


@pytest.mark.parametrize("share", [1.0, 1e-3])
def test_a_model_that_mixes_rows_after_its_trunk_is_not_split(share: float) -> None:
    model, ids = Smeared(share).eval(), windows(1)
    parts = split(model, ids[0])
    assert isinstance(parts, Whole)
    with torch.no_grad():
        logits = model(input_ids=ids).logits
        torch.testing.assert_close(parts.logits(parts.hidden(ids)[0, :5], ids[0, :5]), logits[0, :5])


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
