"""Estimate the memory that a run takes besides what it holds: on the host, and on the device of the model.

On a CPU all of it is host memory. On CUDA the model, its pristine copy, activations, logits and the state of training
lie on the card; the host holds the tokenizer, the text, and one matrix of a point that is read. One direction is held
at a time, and none on a card that makes normals itself. The estimates are sums of the large tensors, and
good to a factor of two: they refuse what cannot fit, and promise nothing of what just fits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import psutil
import torch
from torch import nn

from landscape.session.point_methods import calibrates, trains
from landscape.session.point_specs import MadeSpec
from landscape.session.subject import Subject
from quant.center import copy_bytes
from quant.checkpoints.checkpoint import Checkpoint
from quant.fidelity import comparison_bytes, state_bytes
from quant.memory import SMALLER, MemoryNeed, check_room
from quant.nll import HEAD_ROWS
from quant.normals import made_on
from quant.space import WeightSpace

_FLOAT, _CODE = 4, 1  # bytes of a float32, of an int8 code
_LOGITS = 3  # the rows, their log-probabilities or gradient, and one temporary
_TRAINING = 6  # masters, their gradient, the weights' gradient, AdamW's two moments, the best epoch
_MATRIX = 4  # copies of one matrix: w, the point or direction, their sum, a temporary in float64 counts twice
_HESSIANS = 8  # matrices of inputs × inputs while GPTQ solves: sums, damped copies, factors
_DOUBLE = 4  # a product with the Hessian keeps the graph of the gradient too: 1.0 GB at 128 tokens of SmolLM2-135M
_EXPERTS = 2  # experts of a token where a configuration does not say
_SHORTER = "use a shorter --seq-len, --dtype bfloat16, or a machine with more memory"

Parts = Mapping[str, int]


def evaluation_need(subject: Subject, batch: int = 1, compared: int = 0) -> MemoryNeed:
    """Return what evaluating probes takes: one direction, one matrix of any position, and a batch of windows.

    A card that makes normals itself holds no direction.

    Args:
        subject: The model and its windows.
        batch: Number of windows in a forward pass.
        compared: Number of windows on which predictions are compared with those at w.
    """
    space, model = subject.space, subject.model
    device = _device(subject.checkpoint)
    parts = {
        "one direction": 0 if made_on(device) else _FLOAT * space.dimension,
        "one matrix of w + λê": _matrix(space),
        "activations": batch * activation_bytes(model, space, _ids(subject)),
        "logits": logit_bytes(subject.vocabulary, batch * _ids(subject)),
    }
    if compared:
        tokens = next(iter(subject.windows.values()))[0].tokens.expand(batch, -1)
        parts[f"predictions at w of {compared} windows"] = compared * state_bytes(model, tokens) // batch
        on_card = device.type == "cuda"
        parts["logits compared"] = comparison_bytes(subject.vocabulary, batch * _ids(subject), on_card)
    return _placed(device, parts, {"one matrix of a point": _FLOAT * _largest(space)})


def making_need(subject: Subject, made: MadeSpec, calibration_windows: int) -> MemoryNeed:
    """Return what making one point takes.

    Args:
        subject: The model and its windows.
        made: The point to make.
        calibration_windows: Number of windows that calibrate it.
    """
    space, model, length = subject.space, subject.model, _ids(subject)
    trained, calibrated = trains(made.method), calibrates(made.method)
    parts = {
        "codes of the point": _CODE * space.dimension,
        "one matrix while its scale is searched": _matrix(space),
        "training's masters, gradients and moments": _TRAINING * _FLOAT * space.dimension if trained else 0,
        "activations of a window": activation_bytes(model, space, length, graph=trained),
        "logits": logit_bytes(subject.vocabulary, length) if trained else 0,
    }
    if calibrated:
        parts["hidden states of the calibration windows"] = (
            2 * calibration_windows * length * _width(model) * _itemsize(model)  # a block's inputs and outputs
        )
        parts["Hessians of one block"] = _HESSIANS * _FLOAT * max(slot.inputs for slot in space) ** 2
    return _placed(_device(subject.checkpoint), parts, {"one matrix of a point": _FLOAT * _largest(space)})


def walk_need(subject: Subject, windows: int) -> MemoryNeed:
    """Return what a walk takes that measures layer-wise errors: one block's Hessians, and one error in float64.

    Args:
        subject: The model and its windows.
        windows: Number of windows that are walked through the model together.
    """
    space, model, length = subject.space, subject.model, _ids(subject)
    by_block: dict[int, int] = {}
    for slot in space:  # an upper bound: matrices that read one input, as query, key and value do, share theirs
        by_block[slot.block] = by_block.get(slot.block, 0) + slot.inputs**2
    parts = {
        "hidden states of the windows": 2 * windows * length * _width(model) * _itemsize(model),
        "activations of a window": activation_bytes(model, space, length),
        "Hessians of one block": _FLOAT * max(by_block.values()),
        "one error in float64": max(2 * _FLOAT * (slot.inputs**2 + _MATRIX * slot.size) for slot in space),
    }
    return _placed(_device(subject.checkpoint), parts, {"one matrix of a point": _FLOAT * _largest(space)})


def product_need(subject: Subject, vectors: int) -> MemoryNeed:
    """Return what products with the Hessian take.

    Args:
        subject: The model and its windows.
        vectors: Number of vectors of D coordinates, in the model's dtype.
    """
    space, model, length = subject.space, subject.model, _ids(subject)
    graph = _DOUBLE * (activation_bytes(model, space, length, graph=True) + _attention_bytes(model, space, length))
    parts = {
        f"{vectors} vectors of D coordinates": vectors * _itemsize(model) * space.dimension,
        "activations of a window": graph,
        "logits": _DOUBLE * _LOGITS * _FLOAT * length * subject.vocabulary,
    }
    return _placed(_device(subject.checkpoint), parts, {})


def copy_need(checkpoint: Checkpoint) -> MemoryNeed:
    """Return what the pristine copy of a model takes."""
    copy = {"the pristine copy of w": copy_bytes(checkpoint.model, checkpoint.space)}
    return _placed(_device(checkpoint), copy, {})


def rounding_need(checkpoint: Checkpoint) -> MemoryNeed:
    """Return what rounding to nearest takes, with neither a text nor a store."""
    space = checkpoint.space
    parts = {
        "the pristine copy of w": copy_bytes(checkpoint.model, space),
        "codes of the point": _CODE * space.dimension,
        "one matrix while its scale is searched": _matrix(space),
    }
    return _placed(_device(checkpoint), parts, {})


def largest(needs: Collection[MemoryNeed]) -> MemoryNeed:
    """Return the largest needs on the host and on the device of tasks that come one after the other."""
    return MemoryNeed(
        max(needs, key=lambda need: need.host_bytes).host, max(needs, key=lambda need: need.device_bytes).device
    )


def peak(need: MemoryNeed, checkpoint: Checkpoint) -> tuple[int, int]:
    """Return the peak bytes on the host and on the device: those held now, and those that a task adds."""
    resident: int = psutil.Process().memory_info().rss
    held = sum(torch.cuda.memory_allocated(device) for device in checkpoint.devices if device.type == "cuda")
    return resident + need.host_bytes, held + need.device_bytes


def check_copy(checkpoint: Checkpoint) -> None:
    """Check that the pristine copy of a model fits, before a text is read for it.

    Raises:
        UsageError: if it does not.
    """
    check_room(copy_need(checkpoint), checkpoint.devices, "the copy of the model", SMALLER)


def check_run(need: MemoryNeed, checkpoint: Checkpoint) -> None:
    """Check that a run fits.

    Raises:
        UsageError: if it does not; the message has the numbers.
    """
    check_room(need, checkpoint.devices, "this run", _SHORTER)


def logit_bytes(vocabulary: int, length: int) -> int:
    """Return the bytes of the logits that exist at once, of ``length`` ids."""
    return _LOGITS * _FLOAT * min(length, HEAD_ROWS) * vocabulary


def activation_bytes(model: nn.Module, space: WeightSpace, length: int, graph: bool = False) -> int:
    """Return the bytes of one window's activations: inputs and outputs of a block's matrices.

    Args:
        model: The model.
        space: Its weight space.
        length: Ids per window.
        graph: Whether a gradient is taken, for which all blocks are kept; else one is at a time.
    """
    k = getattr(getattr(model, "config", None), "num_experts_per_tok", None) or _EXPERTS
    by_block: dict[int, int] = {}
    counted: dict[str, int] = {}
    for slot in space:
        if slot.expert:  # a token visits k of them
            kind = f"{slot.siblings}{slot.shape}"
            counted[kind] = counted.get(kind, 0) + 1
            if counted[kind] > int(k):
                continue
        by_block[slot.block] = by_block.get(slot.block, 0) + sum(slot.shape)
    widths = sum(by_block.values()) if graph else max(by_block.values())
    eager = _attention_bytes(model, space, length) if _eager(model) else 0
    return length * widths * _itemsize(model) + (eager if graph else eager // len(by_block))


def _attention_bytes(model: nn.Module, space: WeightSpace, length: int) -> int:
    """Return the bytes of all blocks' attention as matrices, scores and probabilities."""
    heads = int(getattr(getattr(model, "config", None), "num_attention_heads", 0) or 0)
    return 2 * len({slot.block for slot in space}) * heads * length**2 * _itemsize(model)


def _eager(model: nn.Module) -> bool:
    return getattr(getattr(model, "config", None), "_attn_implementation", None) == "eager"


def _width(model: nn.Module) -> int:
    """Return the length of a hidden state."""
    width: int = model.get_input_embeddings().weight.shape[1]  # type: ignore[operator, union-attr]
    return width


def _itemsize(model: nn.Module) -> int:
    return next(model.parameters()).element_size()


def _ids(subject: Subject) -> int:
    """Return the ids of a window, the beginning-of-text token that it may have included."""
    return subject.seq_len + 1


def _matrix(space: WeightSpace) -> int:
    return _MATRIX * _FLOAT * _largest(space)


def _largest(space: WeightSpace) -> int:
    return max(slot.size for slot in space)


def _device(checkpoint: Checkpoint) -> torch.device:
    """Return the device of the model; the first card if it lies on several devices."""
    return next((device for device in checkpoint.devices if device.type == "cuda"), checkpoint.devices[0])


def _placed(device: torch.device, parts: Parts, host: Parts) -> MemoryNeed:
    """Place what computing takes on the model's device, and on the host what remains there beside a card."""
    return MemoryNeed(host, parts) if device.type == "cuda" else MemoryNeed(parts, {})
