import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import LlamaConfig, LlamaForCausalLM

from quant import nll
from quant.architecture import vocabulary_size
from quant.nll import Rows, WindowNLL, batch_nll, hidden_states, mean_nll, measure, token_nll, whole_nll, window_nll
from tests.tiny import ARCHITECTURES, VOCABULARY, windows


@pytest.fixture(params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> nn.Module:
    return ARCHITECTURES[request.param]()


def test_equals_transformers_own_loss(model: nn.Module) -> None:
    for window in windows(5):
        with torch.no_grad():
            reference = float(model(input_ids=window[None], labels=window[None]).loss)
        ours = window_nll(model, window)
        assert ours.tokens == len(window) - 1
        assert ours.total / ours.tokens == pytest.approx(reference, abs=1e-5)


def test_every_token_by_hand_in_float64(model: nn.Module) -> None:
    window = windows(1)[0]
    with torch.no_grad():
        logits = model(input_ids=window[None], use_cache=False).logits[0].double().numpy()
        ours = token_nll(model, window[None])[0].double().numpy()
    by_hand = [np.log(np.exp(logits[t]).sum()) - logits[t, window[t + 1]] for t in range(len(window) - 1)]
    np.testing.assert_allclose(ours, by_hand, atol=1e-5)


def test_a_token_is_scored_given_only_those_before_it(model: nn.Module) -> None:
    window = windows(1)[0]
    changed = window.clone()
    changed[-1] = (changed[-1] + 1) % VOCABULARY
    with torch.no_grad():
        a, b = token_nll(model, window[None])[0], token_nll(model, changed[None])[0]
    torch.testing.assert_close(a[:-1], b[:-1])
    assert a[-1] != b[-1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_zeroed_head_is_chance(model: nn.Module, dtype: torch.dtype) -> None:
    model = model.to(dtype)
    head = model.get_output_embeddings()
    head.weight = nn.Parameter(torch.zeros_like(head.weight))  # a new tensor: the embeddings may be tied to the old
    assert vocabulary_size(model) == VOCABULARY
    nll = mean_nll([window_nll(model, window) for window in windows(3)])
    assert nll == pytest.approx(math.log(VOCABULARY), rel=1e-6)


def test_half_precision_logits_are_scored_in_float32() -> None:
    model = ARCHITECTURES["llama"]().bfloat16()
    window = windows(1)[0]
    with torch.no_grad():
        logits = model(input_ids=window[None], use_cache=False).logits[0, :-1].double()
    reference = float((logits.logsumexp(1) - logits.gather(1, window[1:, None])[:, 0]).sum())
    assert token_nll(model, window[None]).dtype == torch.float32
    assert window_nll(model, window).total == pytest.approx(reference, rel=1e-6)


@pytest.mark.parametrize("vocabulary", [131_072, 262_144])
def test_sums_over_a_large_vocabulary_are_those_of_float64(vocabulary: int) -> None:
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1,
        max_position_embeddings=256,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).eval()
        window = torch.randint(0, vocabulary, (200,))
    with torch.no_grad():
        model.lm_head.weight.mul_(40)  # logits of about 3, as real models have them
        logits = model(input_ids=window[None], use_cache=False).logits[0, :-1].double()
    reference = float((logits.logsumexp(1) - logits.gather(1, window[1:, None])[:, 0]).mean())
    assert mean_nll([window_nll(model, window)]) == pytest.approx(reference, abs=1e-6)


def test_ragged_windows_weigh_by_tokens(model: nn.Module) -> None:
    long, short = windows(1, 20)[0], windows(1, 3, seed=1)[0]
    parts = [window_nll(model, window) for window in (long, short)]
    assert [part.tokens for part in parts] == [19, 2]
    assert mean_nll(parts) == (parts[0].total + parts[1].total) / 21
    assert mean_nll([WindowNLL(10.0, 1), WindowNLL(0.0, 9)]) == 1.0  # the mean of window means would be 5


def test_a_window_does_not_depend_on_the_others_in_its_batch(model: nn.Module) -> None:
    batch = windows(4)
    with torch.no_grad():
        together = token_nll(model, batch).double().sum(1)
    alone = torch.tensor([window_nll(model, window).total for window in batch], dtype=torch.float64)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_a_broken_model_gives_nan() -> None:
    model = ARCHITECTURES["opt"]()
    with torch.no_grad():
        model.model.decoder.layers[0].fc1.weight[0, 0] = math.nan
    assert math.isnan(window_nll(model, windows(1)[0]).total)


def test_differentiable(model: nn.Module) -> None:
    token_nll(model, windows(2)).mean().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_global_random_state_is_left_alone(model: nn.Module) -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].tobytes()
    first = window_nll(model, windows(1)[0])
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tobytes() == numpy_before
    assert window_nll(model, windows(1)[0]) == first


@pytest.fixture
def _few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nll, "HEAD_ROWS", 5)


@pytest.mark.usefixtures("_few_rows")
def test_no_more_logits_exist_at_once_than_rows_of_the_head(model: nn.Module) -> None:
    shapes: list[int] = []
    window_nll(model, windows(1)[0])  # the first call also tries the split
    model.get_output_embeddings().register_forward_hook(lambda module, args, output: shapes.append(output.shape[-2]))
    window_nll(model, windows(1)[0])
    assert shapes == [5, 5, 1]


@pytest.mark.usefixtures("_few_rows")
def test_the_gradient_by_rows_is_that_of_all_logits(model: nn.Module) -> None:
    weights = torch.rand(2, 11, generator=torch.Generator().manual_seed(0))
    model.requires_grad_(False)
    block = [p for name, p in model.named_parameters() if "layers.0" in name or ".h.0" in name]
    for parameter in block:
        parameter.requires_grad_(True)
    by_rows, whole = ((weights * of(model, windows(2))).sum() for of in (token_nll, whole_nll))
    torch.testing.assert_close(by_rows, whole)
    for ours, theirs in zip(torch.autograd.grad(by_rows, block), torch.autograd.grad(whole, block), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


@pytest.mark.usefixtures("_few_rows")
def test_a_gradient_of_the_gradient_by_rows_is_refused(model: nn.Module) -> None:
    model.requires_grad_(False)
    inner = next(p for name, p in model.named_parameters() if p.ndim == 2 and ".0." in name)
    inner.requires_grad_(True)
    with sdpa_kernel(SDPBackend.MATH), pytest.raises(RuntimeError, match="taken once"):
        torch.autograd.grad(token_nll(model, windows(1)).sum(), inner, create_graph=True)


@pytest.mark.usefixtures("_few_rows")
def test_a_head_that_trains_has_its_gradient(model: nn.Module) -> None:
    model.requires_grad_(True)
    token_nll(model, windows(2)).mean().backward()
    ours = model.get_output_embeddings().weight.grad.clone()
    model.zero_grad()
    whole_nll(model, windows(2)).mean().backward()
    torch.testing.assert_close(ours, model.get_output_embeddings().weight.grad)


@pytest.mark.usefixtures("_few_rows")
def test_kl_and_the_agreement_of_the_first_choice_come_from_the_same_pass(model: nn.Module) -> None:
    text = windows(3)
    with torch.no_grad():
        at_w = model(input_ids=text, use_cache=False).logits[:, :-1].double().log_softmax(-1)
        hidden = hidden_states(model, text)
        for name, p in model.named_parameters():
            if p.ndim == 2 and ".0." in name:
                p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(0)), alpha=3)
        there = model(input_ids=text, use_cache=False).logits[:, :-1].double().log_softmax(-1)

    def kl(rows: Rows) -> torch.Tensor:
        w, here = (logits.log_softmax(-1) for logits in (rows.head(hidden[rows.place]), rows.logits))
        return (w.exp() * (w - here)).sum(-1)

    def agrees(rows: Rows) -> torch.Tensor:
        return rows.head(hidden[rows.place]).argmax(-1) == rows.logits.argmax(-1)

    losses, divergence, same = measure(model, text, nll.nll, kl, agrees)
    torch.testing.assert_close(losses.double(), -there.gather(-1, text[:, 1:, None])[..., 0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(divergence.double(), (at_w.exp() * (at_w - there)).sum(-1), rtol=1e-3, atol=1e-6)
    assert torch.equal(same, at_w.argmax(-1) == there.argmax(-1))
    assert float(divergence.mean()) > 1e-6


def test_windows_of_a_batch_have_their_own_sums(model: nn.Module) -> None:
    text = windows(4)
    together = batch_nll(model, text)
    assert [w.tokens for w in together] == [11] * 4
    alone = [window_nll(model, window).total for window in text]
    assert [w.total for w in together] == pytest.approx(alone, rel=1e-6)
