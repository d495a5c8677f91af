from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.errors import PointError, UsageError
from quant.external.gauge import Gauge
from quant.external.load import load_external
from tests import tiny
from tests.quant.external import folding
from tests.quant.external.folding import GEMMA2, GPT2, LLAMA, OPT, PHI3, UP_DOWN, V_O, Folds

Save = Callable[..., Path]
TOKENS = tiny.windows(4)
V_DENSE = ("self_attn.v_proj", "self_attn.dense")
SIZES = {
    "vocab_size": tiny.VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 0,
    "eos_token_id": 0, "pad_token_id": 0, "head_dim": 4,
}  # fmt: skip


def make(kind: type, config: type, **changes: object) -> Callable[[], nn.Module]:
    options = {**SIZES, **changes}

    def made() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return kind(config(**options)).eval()

    return made


def phi3() -> nn.Module:
    options = {key: value for key, value in SIZES.items() if key != "head_dim"}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Phi3ForCausalLM(Phi3Config(**{**options, "num_key_value_heads": 4})).eval()


MODELS: dict[str, tuple[Callable[[], nn.Module], Folds, Sequence[tuple[str, str]], dict[str, object]]] = {
    "llama, grouped queries": (tiny.llama, LLAMA, [UP_DOWN], {}),
    "llama, v into o of grouped queries": (tiny.llama, LLAMA, [V_O], {"head": 4}),
    "llama": (make(LlamaForCausalLM, LlamaConfig, num_key_value_heads=4), LLAMA, [V_O, UP_DOWN], {}),
    "qwen2, biases": (make(Qwen2ForCausalLM, Qwen2Config, num_key_value_heads=4), LLAMA, [V_O, UP_DOWN], {}),
    "qwen3, norms of heads": (make(Qwen3ForCausalLM, Qwen3Config), LLAMA, [UP_DOWN], {}),
    "phi3, fused": (phi3, PHI3, [("mlp.gate_up_proj", "mlp.down_proj")], {"last_rows": True}),
    "gemma, 1 + w": (make(GemmaForCausalLM, GemmaConfig), LLAMA, [UP_DOWN], {"offset": 1.0}),
    "gemma2": (make(Gemma2ForCausalLM, Gemma2Config), GEMMA2, [UP_DOWN], {"offset": 1.0}),
    "opt, biases and relu": (tiny.opt, OPT, [("self_attn.v_proj", "self_attn.out_proj"), ("fc1", "fc2")], {}),
    "gpt2, transposed": (tiny.gpt2, GPT2, [], {}),
}  # fmt: skip


def phi() -> nn.Module:
    options = {key: value for key, value in SIZES.items() if key != "head_dim"}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PhiForCausalLM(PhiConfig(**{**options, "num_key_value_heads": 4})).eval()


def opened(saved: Save, made: Callable[[], nn.Module], half: bool = False) -> Checkpoint:
    """A checkpoint; its values may be those of half precision, so that all but folds is stored exactly."""
    model = folding.lively(made())
    return load_checkpoint(str(saved(model.half() if half else model)))


@pytest.mark.parametrize("gauge", ["nearest", "stored"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("form", "half"), [("awq", False), ("awq", True), ("compressed", True), ("plain", False)])
def test_unfolded_point_is_the_folders_own_function(
    saved: Save, tmp_path: Path, model: str, form: str, half: bool, gauge: Gauge
) -> None:
    made, norms, pairs, options = MODELS[model]
    if (form, made) == ("compressed", tiny.gpt2):
        pytest.skip("llm-compressor quantizes no Conv1D")
    checkpoint = opened(saved, made, half)
    before = copy.deepcopy(checkpoint.model.state_dict())

    def change(folded: nn.Module) -> object:
        return folding.fold(folded, norms, pairs, **options)

    exact = folding.write(tmp_path / "theirs", checkpoint, form, change, torch.float16 if half else torch.float32)
    point = load_external(tmp_path / "theirs", checkpoint, "theirs", gauge)
    biased = any(name.endswith("bias") for name, _ in checkpoint.model.named_parameters())
    bound = 1e-4 if half and biased else 3e-7  # the biases of the folder were rounded after they were scaled
    assert abs(folding.loss(folding.at(checkpoint, point), TOKENS) - folding.loss(exact, TOKENS)) < bound
    assert all(torch.equal(tensor, before[name]) for name, tensor in checkpoint.model.state_dict().items())
    distance = folding.relative_distance(checkpoint, point)
    if gauge == "nearest":  # what is left is the rounding to 4 bits in groups of 8, or to float32
        assert distance < (1e-6 if form == "plain" else 0.13)
    elif pairs and not biased:
        assert distance > 0.25


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("model", ["llama", "llama, v into o of grouped queries", "gemma, 1 + w"])
def test_model_held_in_half_precision(saved: Save, tmp_path: Path, dtype: str, model: str) -> None:
    """Which scales move is found in its arithmetic: the same pairs, and the same weights up to the dtype's rounding."""
    made, norms, pairs, options = MODELS[model]
    checkpoint = opened(saved, made)
    folding.write(tmp_path / "t", checkpoint, "plain", lambda m: folding.fold(m, norms, pairs, **options))
    held = load_checkpoint(checkpoint.name, dtype=dtype)
    wide, narrow = (load_external(tmp_path / "t", c, "t") for c in (checkpoint, held))
    assert narrow.provenance["unfolded"]["pairs"].keys() == wide.provenance["unfolded"]["pairs"].keys()
    assert folding.relative_distance(checkpoint, narrow) < 2 * torch.finfo(held.model.dtype).eps


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("case", ["post-LN", "experts"])
def test_half_precision_hides_no_other_reader(saved: Save, tmp_path: Path, dtype: str, case: str) -> None:
    made, change, message = REFUSED[case]
    checkpoint = opened(saved, made)
    folding.write(tmp_path / "t", checkpoint, "plain", change)
    with pytest.raises(PointError, match=message):
        load_external(tmp_path / "t", load_checkpoint(checkpoint.name, dtype=dtype), "t")


def test_ratios_and_scales_are_those_that_were_folded(saved: Save, tmp_path: Path) -> None:
    checkpoint = opened(saved, tiny.llama)
    scales: dict[str, Tensor] = {}
    folding.write(tmp_path / "t", checkpoint, "plain", lambda m: scales.update(folding.fold(m, LLAMA, [UP_DOWN])))
    record = load_external(tmp_path / "t", checkpoint, "t").provenance["unfolded"]
    assert record["gauge"] == "nearest"
    assert set(record["norms"]) == {f"model.layers.{i}.{name}" for i in range(2) for name in LLAMA}
    ratios = 1 / scales["1.input_layernorm"]
    assert record["norms"]["model.layers.1.input_layernorm"] == pytest.approx(
        [float(ratios.min()), float(ratios.max())]
    )
    pair = record["pairs"]["model.layers.0.mlp.up_proj → model.layers.0.mlp.down_proj"]
    factors = scales["0.mlp.up_proj"]
    assert pair == pytest.approx([float(factors.min()), float(factors.max())])
    assert not any("v_proj" in name for name in record["pairs"])
    untouched = load_external(Path(checkpoint.name), checkpoint, "same")
    assert "unfolded" not in untouched.provenance


@pytest.mark.parametrize("form", ["awq", "compressed"])
def test_pairs_that_were_not_folded_stay_as_they_are_stored(saved: Save, tmp_path: Path, form: str) -> None:
    """SmoothQuant moves norms alone: what rounding did to up, v, o and down must not be taken for a scale."""
    checkpoint = opened(saved, make(LlamaForCausalLM, LlamaConfig, num_key_value_heads=4))
    folding.write(tmp_path / "t", checkpoint, form, lambda m: folding.fold(m, LLAMA))
    nearest = load_external(tmp_path / "t", checkpoint, "t")
    stored = load_external(tmp_path / "t", checkpoint, "t", "stored")
    assert nearest.provenance["unfolded"]["pairs"] == {}
    assert nearest.fingerprint(checkpoint.space) == stored.fingerprint(checkpoint.space)


def test_all_readers_of_a_norm_in_a_parallel_block_are_unfolded(saved: Save, tmp_path: Path) -> None:
    checkpoint = opened(saved, phi)
    readers = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.fc1")
    exact = folding.write(
        tmp_path / "t", checkpoint, "awq", lambda m: folding.fold(m, {"input_layernorm": readers}, [V_DENSE])
    )
    point = load_external(tmp_path / "t", checkpoint, "t")
    assert abs(folding.loss(folding.at(checkpoint, point), TOKENS) - folding.loss(exact, TOKENS)) < 3e-7


def test_final_norm_may_be_folded_into_the_head(saved: Save, tmp_path: Path) -> None:
    checkpoint = opened(saved, tiny.llama)

    def change(model: nn.Module, head: bool = True) -> None:
        with torch.no_grad():
            if head:
                folding.scale_inputs(model.lm_head, model.model.norm.weight)
            model.model.norm.weight.fill_(1)

    folding.write(tmp_path / "t", checkpoint, "plain", change)
    point = load_external(tmp_path / "t", checkpoint, "t")
    assert folding.relative_distance(checkpoint, point) == 0
    folding.write(tmp_path / "half", checkpoint, "plain", partial(change, head=False))
    with pytest.raises(
        PointError, match=r"model\.norm\.weight of .*lm_head, outside the weight space, .*not scaled with it"
    ):
        load_external(tmp_path / "half", checkpoint, "t")


def mixtral() -> nn.Module:
    return make(MixtralForCausalLM, MixtralConfig, num_local_experts=4, num_experts_per_tok=2)()


def scaled(name: str, factor: float | Tensor) -> Callable[[nn.Module], object]:
    def change(model: nn.Module) -> None:
        with torch.no_grad():
            model.get_parameter(name).mul_(factor)

    return change


def ones_but(first: float, count: int = 16) -> Tensor:
    factors = torch.full((count,), 2.0)
    factors[0] = first
    return factors


def fold_gelu(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    folding.fold_pair(model.transformer.h[0], "mlp.c_fc", "mlp.c_proj", generator, None, False)


INPUT, POST = "model.layers.1.input_layernorm.weight", "model.layers.0.post_attention_layernorm.weight"
OPT_NORM = "model.decoder.layers.0.self_attn_layer_norm"
REFUSED: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], object], str]] = {
    "zero": (tiny.llama, scaled(INPUT, ones_but(0.0)), r"input_layernorm\.weight.*1 of its 16 weights are zero or"),
    "sign": (tiny.llama, scaled(INPUT, ones_but(-1.0)), r"1 of its 16 weights are zero or changed their sign"),
    "bias of a norm": (tiny.opt, scaled(f"{OPT_NORM}.weight", 2.0), "layer_norm.*bias was not scaled with its weight"),
    "weight of a norm": (tiny.opt, scaled(f"{OPT_NORM}.bias", 2.0), "layer_norm.*bias was not scaled with its weight"),
    "post-LN": (tiny.opt_350m, scaled(f"{OPT_NORM}.weight", 2.0), "more than linear layers reads it"),
    "norm of heads": (MODELS["qwen3, norms of heads"][0], scaled("model.layers.0.self_attn.q_norm.weight", 2.0),
                      r"q_norm\.weight.*no linear layer reads it"),
    "experts": (mixtral, scaled(POST, 2.0), "post_attention_layernorm.*(no linear|more than linear)"),
    "gelu": (tiny.gpt2, fold_gelu, r"c_fc\.bias.*no matrix follows it"),
    "bias of v alone": (tiny.opt, scaled("model.decoder.layers.0.self_attn.v_proj.bias", 2.0),
                        r"v_proj\.bias.*out_proj was not scaled against it"),
    "bias of q": (tiny.opt, scaled("model.decoder.layers.0.self_attn.q_proj.bias", 2.0), r"q_proj\.bias.*no matrix"),
    "sign of a bias": (tiny.opt, scaled("model.decoder.layers.0.fc1.bias", -1.0), r"fc1\.bias.*changed their sign"),
    "head": (tiny.llama, scaled("lm_head.weight", 2.0), r"expected lm_head\.weight"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_folds_that_cannot_be_undone_are_errors_with_reasons(saved: Save, tmp_path: Path, case: str) -> None:
    made, change, message = REFUSED[case]
    checkpoint = opened(saved, made)
    folding.write(tmp_path / "t", checkpoint, "plain", change)
    with pytest.raises(PointError, match=message) as caught:
        load_external(tmp_path / "t", checkpoint, "t")
    assert "\n" not in str(caught.value)


def test_gauge_is_known(saved: Save) -> None:
    with pytest.raises(UsageError, match=r"nearest or stored as gauge .*, got 'flat'"):
        load_external(saved(), load_checkpoint(str(saved(name="again"))), "t", "flat")  # type: ignore[arg-type]
