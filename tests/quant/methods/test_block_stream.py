from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2ForCausalLM

from quant.errors import PointError, UsageError
from quant.methods.block_stream import BlockStream, walk
from quant.replay import hidden_state
from quant.space import WeightSpace
from tests import tiny

ALL = pytest.mark.parametrize("make", tiny.ARCHITECTURES.values(), ids=tiny.ARCHITECTURES.keys())


@contextmanager
def recorded_inputs(model: nn.Module, space: WeightSpace) -> Iterator[dict[str, list[Tensor]]]:
    """Every input of every matrix, (tokens, in) in float64, while the model is run as a whole."""
    inputs: dict[str, list[Tensor]] = {slot.name: [] for slot in space}

    def record(name: str) -> Callable:
        return lambda module, args: inputs[name].append(args[0].detach().reshape(-1, args[0].shape[-1]).double())

    handles = [model.get_submodule(s.name[: -len(".weight")]).register_forward_pre_hook(record(s.name)) for s in space]
    yield inputs
    for handle in handles:
        handle.remove()


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules())


def held(stream: BlockStream) -> list[Tensor]:
    """The hidden states that a stream goes on from."""
    return [hidden_state(output) for output in stream._states]


def sliding() -> nn.Module:
    """Its two blocks get different attention masks."""
    config = Qwen2Config(
        vocab_size=tiny.VOCABULARY, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, use_sliding_window=True, sliding_window=3, max_window_layers=1, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    assert config.layer_types == ["full_attention", "sliding_attention"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Qwen2ForCausalLM(config).eval()


@pytest.mark.parametrize("make", [*tiny.ARCHITECTURES.values(), sliding])
def test_walk_gives_the_hidden_states_of_transformers(make: Callable[[], nn.Module]) -> None:
    model, windows = make(), tiny.windows(3)
    stream = BlockStream(model, windows)
    last: list[Tensor] = []  # transformers reports its last hidden state after the final norm
    handle = stream.blocks[-1].register_forward_hook(lambda m, args, output: last.append(output))
    with torch.no_grad():
        expected = model(input_ids=windows, output_hidden_states=True).hidden_states
    handle.remove()
    for index, states in enumerate([*expected[:-1], last[0]]):
        if index:
            stream.advance(index - 1)
            torch.testing.assert_close(torch.cat(held(stream)), states, rtol=1e-5, atol=1e-6)


def test_blocks_that_return_tuples() -> None:
    class Old(nn.Module):
        def __init__(self, block: nn.Module) -> None:
            super().__init__()
            self.block = block

        def forward(self, *args: object, **kwargs: object) -> tuple[Tensor, None]:
            return self.block(*args, **kwargs), None

    new, old = (BlockStream(tiny.opt(), tiny.windows(2)) for _ in range(2))
    old.blocks[0] = Old(old.blocks[0])
    old._model.model.decoder.layers = nn.ModuleList([old.blocks[0], Unpacked(old.blocks[1])])
    old.blocks[1] = old._model.model.decoder.layers[1]
    for stream in (new, old):
        stream.advance(0)
    assert isinstance(old._states[0], tuple)
    assert all(torch.equal(a, b) for a, b in zip(held(new), held(old), strict=True))
    pairs = zip(new.calls(1), old.calls(1), strict=True)
    assert all(torch.equal(a.output, b.output) for a, b in pairs)


class Unpacked(nn.Module):
    """A block of an older model, whose loop takes the hidden state out of what the block before returned."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, state: object, *args: object, **kwargs: object) -> Tensor:
        return self.block(hidden_state(state), *args, **kwargs)


@ALL
def test_hessians_are_those_of_the_inputs(make: Callable[[], nn.Module]) -> None:
    model, windows = make().double(), tiny.windows(4)
    space = WeightSpace.of(model)
    with recorded_inputs(model, space) as inputs, torch.no_grad():
        model(input_ids=windows)
    stream, seen = BlockStream(model, windows), []
    for index in range(2):
        for shared in stream.hessians(index, [s for s in space if s.block == index], advance=True):
            for slot in shared.slots:
                x = torch.cat(inputs[slot.name])
                torch.testing.assert_close(shared.hessian, 2 / windows.numel() * x.T @ x, rtol=1e-7, atol=1e-12)
                seen.append(slot)
    assert sorted(seen, key=lambda s: s.offset) == list(space)


def test_query_key_value_share_one_hessian() -> None:
    model = tiny.llama()
    slots = [s for s in WeightSpace.of(model) if s.block == 0]
    groups = BlockStream(model, tiny.windows(3)).hessians(0, slots, advance=False)
    names = [[s.name.split(".")[-2] for s in g.slots] for g in groups]
    assert names == [["q_proj", "k_proj", "v_proj"], ["o_proj"], ["gate_proj", "up_proj"], ["down_proj"]]


@pytest.mark.parametrize("advance", [True, False])
def test_states_advance_only_on_request(advance: bool) -> None:
    model = tiny.opt()
    stream = BlockStream(model, tiny.windows(2))
    after = [call.output for call in stream.calls(0)]
    stream.hessians(0, [s for s in WeightSpace.of(model) if s.block == 0], advance=advance)
    if advance:
        assert all(torch.equal(a, b) for a, b in zip(stream._states, after, strict=True))
    else:
        assert stream._states == [None, None]


@pytest.mark.parametrize(("dtype", "accumulated"), [("bfloat16", "float32"), ("float32", "float32"), ("float64",) * 2])
def test_hessians_are_accumulated_in_float32_or_better(dtype: str, accumulated: str) -> None:
    model = tiny.opt().to(getattr(torch, dtype))
    stream = BlockStream(model, tiny.windows(2))
    groups = stream.hessians(0, [s for s in WeightSpace.of(model) if s.block == 0], advance=False)
    assert {g.hessian.dtype for g in groups} == {getattr(torch, accumulated)}


def test_dropout_is_off_and_modes_come_back() -> None:
    model = tiny.gpt2()
    space = WeightSpace.of(model)
    expected = [shared.hessian for shared in walk(model, space, tiny.windows(3))]
    model.train()
    model.transformer.h[0].eval()
    modes = [m.training for m in model.modules()]
    found = [shared.hessian for shared in walk(model, space, tiny.windows(3))]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert [m.training for m in model.modules()] == modes


@ALL
def test_inputs_come_in_the_order_of_reading(make: Callable[[], nn.Module]) -> None:
    model = make()
    space = WeightSpace.of(model)
    turned = BlockStream(model, tiny.windows(2)).hessians(0, [s for s in space if s.block == 0][::-1], advance=False)
    names = ["".join(sorted(slot.name.split(".")[-2][0] for slot in shared.slots)) for shared in turned]
    if make is tiny.gpt2:
        assert [shared.slots[0].name.split(".")[-3] for shared in turned] == ["attn", "attn", "mlp", "mlp"]
    else:
        assert names == (["kqv", "o", "gu", "d"] if make is tiny.llama else ["kqv", "o", "f", "f"])


def test_no_hook_stays() -> None:
    model = tiny.llama()
    space = WeightSpace.of(model)
    before = hooks(model)
    stream = BlockStream(model, tiny.windows(2))
    foreign = [s for s in space if s.block == 1]
    with pytest.raises(
        PointError, match=r"reach model\.layers\.1\.self_attn\.q_proj\.weight, none did; use more --calib"
    ):
        stream.hessians(0, foreign, advance=False)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    handle = model.model.layers[0].mlp.register_forward_hook(fail)
    with pytest.raises(KeyboardInterrupt):
        stream.hessians(0, [s for s in space if s.block == 0], advance=True)
    handle.remove()
    assert hooks(model) == before


@pytest.mark.parametrize("shape", [(0, 12), (12,), (2, 0)])
def test_windows_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="shape"):
        BlockStream(tiny.opt(), torch.zeros(shape, dtype=torch.long))
