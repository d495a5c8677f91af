"""Compare KL, agreement and entropy with torch's own functions on all logits, in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from quant.fidelity import Comparison, batch_fidelity, batch_states, comparison_bytes, state_bytes
from quant.nll import Rows, batch_nll, splits
from tests.families.dense import DENSE
from tests.families.family import Family
from tests.families.mixtures import MIXTURES
from tests.tiny import windows

NAMES = ("gpt2", "opt", "llama", "gemma3_text", "mixtral")  # tied, biased, untied, scaled, experts
FAMILIES = [family for family in (*DENSE, *MIXTURES) if family.name in NAMES]
SMALL = (2, 12)
"""Windows whose logits come all at once."""
LARGE = (6, 48)
"""282 scored tokens: more than the rows of one run of the head, so that hidden states are kept."""
CLOSE = 1e-5


@pytest.fixture(params=FAMILIES, ids=lambda family: family.name)
def model(request: pytest.FixtureRequest) -> nn.Module:
    family: Family = request.param
    model = family.build()
    for weight in model.parameters():  # an untrained model guesses nearly uniformly, from the embeddings alone
        weight.data *= 8 if weight.ndim > 1 else 1
    return model


def moved(model: nn.Module, share: float = 0.2) -> nn.Module:
    """Add to every matrix of the blocks a random one, so many times as long: the head stays as it is."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(1)
    for name, weight in other.named_parameters():
        if ".layers." in name or ".h." in name:
            noise = torch.randn(weight.shape, generator=generator)
            weight.data += share * weight.norm() / noise.norm() * noise
    return other


def plain(model: nn.Module, other: nn.Module, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return Σ KL(model ‖ other), the number of equal first choices, and Σ entropy of the other, by window."""
    with torch.no_grad():
        own, here = (m(input_ids=ids).logits[:, :-1].double() for m in (model, other))
    log_p, log_q = own.log_softmax(-1), here.log_softmax(-1)
    kl = nn.functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
    entropy = torch.distributions.Categorical(logits=here).entropy()
    return kl.sum(1), (own.argmax(-1) == here.argmax(-1)).sum(1), entropy.sum(1)


@pytest.mark.parametrize("shape", [SMALL, LARGE])
def test_equals_a_plain_computation_from_full_logits(model: nn.Module, shape: tuple[int, int]) -> None:
    ids, other = windows(*shape), moved(model)
    assert splits(model, ids) == (shape == LARGE)
    reference = batch_states(model, ids)
    found = [fidelity for _, fidelity in batch_fidelity(other, ids, reference)]
    kl, agreeing, entropy = plain(model, other, ids)
    tokens = shape[1] - 1
    assert float(kl.sum()) > 0.05 * ids.numel()
    assert 0 < int(agreeing.sum()) < ids.numel() - len(ids)
    torch.testing.assert_close(torch.tensor([f.kl for f in found]).double() / tokens, kl / tokens, atol=CLOSE, rtol=0)
    entropies = torch.tensor([f.entropy for f in found]).double()
    torch.testing.assert_close(entropies / tokens, entropy / tokens, atol=CLOSE, rtol=0)
    assert [f.agreeing for f in found] == agreeing.tolist()


@pytest.mark.parametrize("shape", [SMALL, LARGE])
def test_the_loss_is_that_of_a_pass_without_a_comparison(model: nn.Module, shape: tuple[int, int]) -> None:
    ids, other = windows(*shape), moved(model)
    reference = batch_states(model, ids)
    assert [loss for loss, _ in batch_fidelity(other, ids, reference)] == batch_nll(other, ids)


@pytest.mark.parametrize("shape", [SMALL, LARGE])
def test_at_w_itself_nothing_differs(model: nn.Module, shape: tuple[int, int]) -> None:
    ids = windows(*shape)
    for _, found in batch_fidelity(model, ids, batch_states(model, ids)):
        assert found.kl == 0.0
        assert found.agreeing == shape[1] - 1


@pytest.mark.parametrize("shape", [SMALL, LARGE])
def test_states_take_the_memory_that_is_counted(model: nn.Module, shape: tuple[int, int]) -> None:
    ids = windows(*shape)
    assert batch_states(model, ids).nbytes == state_bytes(model, ids)


def rows(here: Tensor) -> Rows:
    return Rows(here, torch.zeros(len(here), dtype=torch.int64), slice(0, len(here)), lambda states: states)


def test_words_that_a_model_rules_out_count_as_nothing() -> None:
    ruled_out = torch.tensor([[0.0, 1.0, -torch.inf]])
    other = torch.tensor([[1.0, 0.0, -torch.inf]])
    ((kl, agree, entropy),) = Comparison(ruled_out)(rows(other)).tolist()
    two = Comparison(ruled_out[:, :2])(rows(other[:, :2]))[0].tolist()
    assert [kl, agree, entropy] == pytest.approx(two)
    assert kl == pytest.approx((torch.e - 1) / (torch.e + 1))  # by hand: (p₂ − p₁)·1


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_overflow_shows_and_agrees_with_nothing(value: float) -> None:
    own = torch.tensor([[3.0, 1.0]])
    kl, agree, entropy = Comparison(own)(rows(torch.tensor([[value, 1.0]])))[0]
    assert not kl.isfinite()
    assert not entropy.isfinite()
    assert agree == 0


def test_where_a_word_is_ruled_out_that_w_expects_the_divergence_is_infinite() -> None:
    kl, agree, _ = Comparison(torch.tensor([[3.0, 1.0]]))(rows(torch.tensor([[3.0, -torch.inf]])))[0]
    assert kl == torch.inf
    assert agree == 1


@pytest.mark.parametrize("vocabulary", [1000, 50_000, 262_144])
def test_a_large_vocabulary_adds_up_as_in_float64(vocabulary: int) -> None:
    generator = torch.Generator().manual_seed(0)
    own = 4 * torch.randn(8, vocabulary, generator=generator)
    here = own + 0.1 * torch.randn(8, vocabulary, generator=generator)
    log_p, log_q = own.double().log_softmax(-1), here.double().log_softmax(-1)
    kl = nn.functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
    found = Comparison(own)(rows(here))[:, 0].double()
    torch.testing.assert_close(found, kl, atol=CLOSE, rtol=0)


def test_temporaries_on_a_card_are_bounded() -> None:
    assert comparison_bytes(262_144, 10_000, on_card=True) < 2e9
