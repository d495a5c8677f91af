"""Read points from GGUF files, through transformers' own dequantization."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.checkpoints.gguf_file import GGUFFile
from quant.errors import PointError
from quant.external.outside import check_architecture, check_same, provenance, rounding
from quant.hashing import file_hash
from quant.point import PointTensor, WeightPoint
from quant.space import WeightSpace

_FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def from_gguf(path: Path, checkpoint: Checkpoint, name: str, cache: Path | None = None) -> WeightPoint:
    """Read the point of a ``.gguf`` file; see ``quant.external.load``."""
    other = load_checkpoint(str(path), cache=cache).model
    check_architecture(path, other.config.model_type, checkpoint)
    theirs = other.state_dict()
    parts = _parts(checkpoint.space, theirs, path)
    content = GGUFFile(path)
    _check_function(content, other.config, checkpoint.model.config)
    kinds = content.tensor_types
    found = {
        "tensor_types": {kind: list(kinds.values()).count(kind) for kind in sorted(set(kinds.values()))},
        "rounded_outside": _check_outside(path, checkpoint.space, checkpoint.model, other, kinds),
    }
    return WeightPoint(name, None, parts, provenance(name, path, "gguf", {path.name: file_hash(path)}, found))


def _check_function(content: GGUFFile, other: PreTrainedConfig, own: PreTrainedConfig) -> None:
    """Check that the checkpoint computes what the file's metadata and rotary factors say."""
    ours, theirs = ((getattr(config, "rope_parameters", None) or {}) for config in (own, other))
    found = content.unfollowed(own)
    kinds = ours.get("rope_type", "default"), theirs.get("rope_type", "default")
    if "llama3" in kinds and kinds[0] != kinds[1]:
        found = f"rotary scaling {kinds[1]!r}, where the checkpoint has {kinds[0]!r}"
    base, their_base = (float(each.get("rope_theta") or math.nan) for each in (ours, theirs))
    if not math.isnan(base + their_base) and not math.isclose(base, their_base, rel_tol=1e-6):
        found = f"a rotary base of {their_base:g}, where the checkpoint has {base:g}"
    if found:
        raise PointError(
            f"expected {content.path} to be of the checkpoint's function, got {found}: the same weights are another "
            "function with it; name the checkpoint that was quantized"
        )


def _parts(space: WeightSpace, theirs: Mapping[str, Tensor], path: Path) -> dict[str, PointTensor]:
    parts: dict[str, PointTensor] = {}
    for slot in space:
        stored = theirs.get(slot.parameter)
        fits = stored is not None and stored.numel() % slot.size == 0 and stored.shape[-1] == slot.shape[-1]
        part = slot.slice(stored) if stored is not None and (fits or slot.stack is None) else None
        shape = "nothing" if part is None else tuple(part.shape)
        if part is None or shape != slot.shape:
            raise PointError(
                f"expected shape {slot.shape} in {slot.name}, {path} has {shape}; "
                "name the checkpoint that was quantized"
            )
        parts[slot.name] = part.detach()
    return parts


def _check_outside(
    path: Path, space: WeightSpace, model: PreTrainedModel, other: PreTrainedModel, kinds: Mapping[str, str]
) -> dict[str, float]:
    """Compare all tensors outside the space; return how far each one is that the file rounds to integers."""
    slots = {slot.parameter for slot in space}
    ours, theirs = model.state_dict(), other.state_dict()
    floats = [_FLOATS[kind] for kind in set(kinds.values()) & _FLOATS.keys()]
    integers = _integers(other, kinds)
    distances = {}
    for name in sorted(ours.keys() & theirs.keys() - slots):
        if name in integers:
            distances[name] = rounding(name, ours[name], theirs[name], path)
        else:
            check_same(name, ours[name], theirs[name], path, floats)
    return distances


def _integers(model: PreTrainedModel, kinds: Mapping[str, str]) -> set[str]:
    """Return the names of the embedding and the head if the file has them in blocks of integers."""
    pairs = (("token_embd.weight", model.get_input_embeddings()), ("output.weight", model.get_output_embeddings()))
    packed = [module.weight for tensor, module in pairs if kinds.get(tensor, "F32") not in _FLOATS]
    return {name for name, p in model.state_dict(keep_vars=True).items() if any(p is weight for weight in packed)}
