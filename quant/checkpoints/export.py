"""Write a point as a folder that other tools load: float32 weights, and beside them the codes and scales.

    config.json, model.safetensors, …     the files of ``AutoModelForCausalLM.from_pretrained``, and the tokenizer
    codes/quantization.safetensors        for every slot on a grid ``<name>.codes`` (int8), ``<name>.scale`` (float32)
                                          and, where it is asymmetric, ``<name>.zero`` (float32)
    codes/quantization.json               method, scheme and provenance; for a float format its name as ``format``, and
                                          as ``levels`` the magnitudes of the codes 0, 1, 2, …

A weight is its code less the zero, or the level of its code with its sign, times its scale.

The weights are the fake-quantized ones, in float32 whatever the checkpoint's dtype, since codes times scales are exact
in no narrower dtype: loaded with ``dtype="float32"`` they are the point bit for bit. The codes are in a folder of their
own, so that no tool takes them for weights because they lie beside the configuration.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from quant.checkpoints.checkpoint import Checkpoint
from quant.checkpoints.reading import quiet
from quant.errors import UsageError
from quant.files.cache import atomic_path, check_writable
from quant.files.user_path import user_path
from quant.grid import GridTensor
from quant.point import WeightPoint
from quant.space import WeightSpace

CODES = "codes"
TENSORS, RECORD = "quantization.safetensors", "quantization.json"


def export_point(checkpoint: Checkpoint, point: WeightPoint, folder: Path) -> None:
    """Write a point as a folder that transformers, and other tools that read such folders, can load.

    The model is not changed; one float32 copy of the weights is in memory while they are written.

    Args:
        checkpoint: The model of the point; all outside the weight space is its own.
        point: The point to write.
        folder: The folder to make; it must not hold anything yet, and appears whole or not at all.

    Raises:
        UsageError: if ``folder`` is a file, holds something, or cannot be written.
        PointError: if the point does not fit the model.
        StoreError: if the disk is full.
    """
    check_target(folder)
    folder = folder.expanduser().resolve()
    if folder.is_dir():
        folder.rmdir()  # an empty folder would be kept in place of the new one
    with atomic_path(folder, advice="free some space, or choose another --export") as temporary, quiet():
        _save_model(checkpoint, point, temporary)
        if checkpoint.tokenizer is not None:
            checkpoint.tokenizer.save_pretrained(temporary)
        _save_codes(checkpoint.space, point, temporary / CODES)


def check_target(folder: Path) -> None:
    """Check that a folder can be written, before expensive work fills it.

    Raises:
        UsageError: if it is a file, holds something, or cannot be written.
    """
    folder, wanted = user_path(folder, "--export"), "a new or an empty folder as --export"
    check_writable(folder, wanted, inside=folder.resolve().parent)  # where it is first written under another name
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"expected {wanted}, got {str(folder)!r}, which holds something; choose another")


def _save_model(checkpoint: Checkpoint, point: WeightPoint, folder: Path) -> None:
    model = checkpoint.model
    parameters = model.state_dict(keep_vars=True)
    parts = {slot: point.tensor(slot) for slot in checkpoint.space}
    moved = checkpoint.space.assembled(model, parts, torch.float32)
    written = {id(model.get_parameter(name)): tensor.cpu() for name, tensor in moved.items()}
    for tensor in parameters.values():
        if id(tensor) not in written:
            written[id(tensor)] = tensor.detach().cpu().float() if tensor.is_floating_point() else tensor.detach().cpu()
    model.save_pretrained(folder, state_dict={name: written[id(t)] for name, t in parameters.items()})  # ties stay ties
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**config, "dtype": "float32"}, indent=2) + "\n", encoding="utf-8")


def _save_codes(space: WeightSpace, point: WeightPoint, folder: Path) -> None:
    folder.mkdir()
    tensors: dict[str, Tensor] = {}
    for slot in space:
        part = point.parts[slot.name]
        if isinstance(part, GridTensor):
            tensors |= {f"{slot.name}.{field}": tensor for field, tensor in _tensors(part).items()}
    if tensors:
        save_file(tensors, folder / TENSORS, {"method": point.method, "scheme": str(point.scheme)})
    scheme = point.scheme.record if point.scheme else None
    if point.scheme and point.scheme.float_format:
        scheme = {**point.scheme.record, "levels": point.scheme.float_format.levels}
    record = {"method": point.method, "scheme": scheme, "provenance": dict(point.provenance)}
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _tensors(part: GridTensor) -> dict[str, Tensor]:
    """Return the tensors of a grid tensor, in the layout of its slot."""
    tensors = {"codes": part.codes, "scale": part.grid.scale, "zero": part.grid.zero}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items() if tensor is not None}
