"""Refuse stored tensors that a model does not take, except the few that cannot change its function.

transformers drops tensors that its classes have no place for, and at most logs it. A bias that a configuration does not
announce, a layer beyond its count or a scale that another tool folded out is then gone, and the rest is another
function. Some dropped tensors are harmless; each kind is recognised here, by its values where possible.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from quant.printable import printable

Read = Callable[[str], Tensor]
"""Function that reads a stored tensor by its name."""

_DRAFTS = re.compile(r"(^|\.)mtp(_layers|_block|_predictor)?\.")
"""Modules that predict tokens after the next one: drafts for decoding, on which no logit of the next depends."""
_OTHER_SENSES = re.compile(
    r"(^|\.)(visual|vision_tower|vision_model|audio_tower|multi_modal_projector|talker|token2wav|code2wav)\."
)
_MASK = re.compile(r"(^|\.)(attn|attention|crossattention)\.bias$")
_SHARED = re.compile(r"^(.*\.self_attn)\.[kv]_(proj|norm)\.")
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def unused(model: PreTrainedModel, names: Iterable[str], read: Read) -> list[str]:
    """Return the stored tensors that a model does not take and that could change its function.

    Args:
        model: The model, with its own weights.
        names: Stored tensors without a place in the model, by the model's names for them.
        read: The function that reads one of them; a KeyError means that its values are not known.

    Returns:
        Their names, sorted and made printable; empty if every one is harmless.
    """
    return sorted(printable(name) for name in names if not _is_inert(model, name, read))


def refusal(model: PreTrainedModel, names: list[str], source: object) -> str:
    """Return the message that refuses stored tensors which a model does not take."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (
        f"expected only tensors of {type(model).__name__} in {source}, found {', '.join(names[:3])}{more}, which it "
        "does not take: its config.json is that of another function"
    )


def _is_inert(model: PreTrainedModel, name: str, read: Read) -> bool:
    if _DRAFTS.search(name) or _is_draft_layer(model, name) or _is_shared(model, name):
        return True
    if _OTHER_SENSES.search(name) and any(re.search(p, name) for p in model._keys_to_ignore_on_load_unexpected or ()):
        return True
    try:
        value = read(name)
    except KeyError:
        return False
    return _is_recomputed(model, name, value) or _is_without_effect(model, name, value)


def _is_draft_layer(model: PreTrainedModel, name: str) -> bool:
    """Return whether it is in a layer beyond the last, which the configuration announces as a draft of later tokens."""
    config = model.config.get_text_config(decoder=True)
    depth, drafts = getattr(config, "num_hidden_layers", None), getattr(config, "num_nextn_predict_layers", None)
    found = _LAYER.search(name)
    if not found or not isinstance(depth, int) or not isinstance(drafts, int):
        return False
    return depth <= int(found[1]) < depth + drafts


def _is_shared(model: PreTrainedModel, name: str) -> bool:
    """Return whether it is a key or a value of a layer that uses those of an earlier one."""
    found = _SHARED.search(name)
    modules = dict(model.named_modules()) if found else {}
    owners = [m for n, m in modules.items() if found and (n == found[1] or n.endswith(f".{found[1]}"))]
    return len(owners) == 1 and bool(getattr(owners[0], "is_kv_shared_layer", False))


def _is_recomputed(model: PreTrainedModel, name: str, value: Tensor) -> bool:
    """Return whether the model makes this tensor itself: frequencies, positions, masks that older versions stored."""
    buffers = dict(model.named_buffers())
    last = "inv_freq" if name.endswith("rotary_emb.inv_freq") else name
    own = [buffer for key, buffer in buffers.items() if key == last or key.endswith(f".{last}")]
    return any(_same(value, buffer) for buffer in own)


def _is_without_effect(model: PreTrainedModel, name: str, value: Tensor) -> bool:
    leaf = name.rpartition(".")[2]
    if leaf in ("masked_bias", "version"):  # the value of a masked logit; the version of an old format
        return value.numel() == 1
    if leaf == "position_ids":
        return bool((value.flatten() == torch.arange(value.numel())).all())
    if _MASK.search(name) and value.ndim == 4:
        return _is_causal_mask(value, getattr(model.config, "window_size", None))
    # AutoGPTQ wrote a bias for every layer. Adding zeros changes nothing where there is a layer to add them to.
    return leaf == "bias" and f"{name.removesuffix('bias')}weight" in model.state_dict() and not bool(value.any())


def _is_causal_mask(value: Tensor, window: int | None) -> bool:
    """Return whether a mask lets each token see all tokens before it, or the last ``window`` of them."""
    size, mask = value.shape[-1], value[0, 0].bool()
    if value.shape[:3] != (1, 1, size):
        return False
    causal = torch.ones(size, size, dtype=torch.bool).tril()
    band = causal & ~causal.tril(-window) if isinstance(window, int) else causal
    return bool(torch.equal(mask, causal) or torch.equal(mask, band))


def _same(stored: Tensor, own: Tensor) -> bool:
    """Return whether two tensors are roundings of one."""
    if stored.shape != own.shape:
        return False
    dtypes = [torch.finfo(t.dtype).eps for t in (stored, own) if t.is_floating_point()]
    tolerance = 2 * max(dtypes, default=0.0)
    return torch.allclose(stored.double(), own.detach().cpu().double(), rtol=tolerance, atol=1e-30)
