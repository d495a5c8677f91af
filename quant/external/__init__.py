"""Points that other tools made, dequantized into the weight space of a checkpoint.

Read are a GGUF file and folders of safetensors: plain floats, GPTQ, AWQ (``gemm``) and compressed-tensors (integers);
what a folder is says its ``config.json``. Nothing is ever unpickled, and no code of a folder is run.

A point is a vector of weights inside the decoder blocks. Everything else in the model (embeddings, norms, biases, head)
stays the checkpoint's own when the loss is measured, so a tool that moved it too, as AWQ does when it folds scales into
the norms, has made another function, of which no vector of the space is the weights. Every tensor outside the space
that is stored is therefore compared, and a difference beyond the rounding of its dtype is an error. One exception: GGUF
stores the embedding and the head in blocks of integers; their rounding is recorded in the provenance, and the point is
the decoder stack with the checkpoint's own embedding. Activations that a format would quantize at run time are not
weights, and not part of the point.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from quant.checkpoint import Checkpoint
from quant.errors import PointError, UsageError
from quant.external.gguf import from_gguf
from quant.external.layers import FLOATS, Codec, StoredLayer, find_codec
from quant.external.outside import check_architecture, check_same, provenance
from quant.external.tensor_files import TensorFiles, read_json
from quant.point import Part, WeightPoint
from quant.space import Slot, WeightSpace
from quant.stored_tensors import unused

_RUN_TIME = ("input_scale", "input_zero_point", "output_scale", "output_zero_point", "k_scale", "v_scale")


def load_external(path: Path, checkpoint: Checkpoint, name: str) -> WeightPoint:
    """The point that another tool made of the same model.

    Args:
        path: A ``.gguf`` file, or a folder with ``config.json`` and safetensors.
        checkpoint: The model that was quantized; only read.
        name: What the point is to be called: letters, digits and ``. _ + -``.

    Returns:
        Point ``name`` on no grid; its float32 parts are read from the folder when they are asked for, those of a GGUF
        file are in memory. Its provenance has the format, the sha256 of every file, and the quantization config.

    Raises:
        UsageError: if ``name`` is no name, or ``path`` is neither such a folder nor such a file.
        PointError: if the checkpoint is of a kind that is not read, of another architecture, incomplete, or differs
            outside the weight space. Damage inside a tensor is found when its part is read.
        CheckpointError: if a GGUF file cannot be read.
    """
    if not re.fullmatch(r"[\w.+-]+", name):
        raise UsageError(f"expected a name of letters, digits and . _ + -, got {name!r}")
    if (path / "config.json").is_file():
        return _from_folder(path, checkpoint, name)
    if path.is_file() and path.suffix == ".gguf":
        return from_gguf(path, checkpoint, name)
    found = "a folder without it" if path.is_dir() else "another file" if path.exists() else "nothing"
    raise UsageError(f"expected a folder with config.json and safetensors, or a .gguf file, at {path}, found {found}")


def _from_folder(folder: Path, checkpoint: Checkpoint, name: str) -> WeightPoint:
    config = read_json(folder / "config.json")
    check_architecture(folder, str(config.get("model_type")), checkpoint)
    quantization = config.get("quantization_config") or config.get("compression_config")
    if not isinstance(quantization, dict | None):
        raise PointError(f"expected quantization_config as an object in {folder / 'config.json'}, got {quantization!r}")
    codec = find_codec(quantization)
    files = TensorFiles(folder)
    layers, outside = _sort(files, checkpoint, codec)
    _check_layers(files, checkpoint.space, layers, codec)
    for stored in outside:
        _check_outside(files, stored, checkpoint.model)
    record = provenance(name, folder, codec.name, files.hashes(), quantization)
    return WeightPoint(name, None, _FolderParts(checkpoint.space, layers, codec, folder), record)


class _FolderParts(Mapping[str, Part]):
    """The parts of a folder; the tensors of one layer are read and dequantized at a time."""

    def __init__(self, space: WeightSpace, layers: Mapping[str, StoredLayer], codec: Codec, folder: Path) -> None:
        self._slots = {slot.name: slot for slot in space}
        self._layers, self._codec, self._folder = layers, codec, folder

    def __getitem__(self, name: str) -> Part:
        slot, layer = self._slots[name], self._layers[name]
        try:
            weight = _weight(layer, slot, self._codec)
        except PointError as error:
            raise PointError(f"{name} in {self._folder}: {error}") from error
        if not bool(torch.isfinite(weight).all()):
            raise PointError(f"expected finite weights in {name} of {self._folder}, found inf or nan")
        return weight

    def __iter__(self) -> Iterator[str]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._slots)


def _weight(layer: StoredLayer, slot: Slot, codec: Codec) -> Tensor:
    """In the stored shape of the slot, float32."""
    if _is_packed(layer, codec):
        return codec.weight(layer, slot)
    return layer["weight"].float()


def _is_packed(layer: StoredLayer, codec: Codec) -> bool:
    return bool(codec.fields) and codec.fields[0] in layer.names


def _sort(files: TensorFiles, checkpoint: Checkpoint, codec: Codec) -> tuple[dict[str, StoredLayer], list[str]]:
    """The stored tensors of each slot, and the names of those that belong to none."""
    resolve = _resolver(checkpoint.model)
    fields: dict[str, dict[str, str]] = {slot.name: {} for slot in checkpoint.space}
    outside = []
    for stored in files:
        module, _, field = stored.rpartition(".")
        owner = resolve(f"{module}.weight")
        if owner in fields and field in ("weight", *codec.fields):
            fields[owner][field] = stored
        elif not (owner in fields and field in _RUN_TIME):
            outside.append(stored)
    return {slot: StoredLayer(names, files.read) for slot, names in fields.items()}, outside


def _resolver(model: PreTrainedModel) -> Callable[[str], str]:
    """From a stored name to the model's: its base model's prefix may be there or be missing, as transformers allows."""
    known, prefix = model.state_dict().keys(), f"{model.base_model_prefix}."

    def resolve(name: str) -> str:
        if name.startswith(prefix) and name.removeprefix(prefix) in known:
            return name.removeprefix(prefix)
        return prefix + name if prefix + name in known else name

    return resolve


def _check_layers(files: TensorFiles, space: WeightSpace, layers: Mapping[str, StoredLayer], codec: Codec) -> None:
    """Every slot has its tensors; plain ones have its shape and are floats. Packed shapes are the codec's to check."""
    for slot in space:
        layer = layers[slot.name]
        if _is_packed(layer, codec):
            continue
        stored = layer.names.get("weight")
        if stored is None:
            kinds = " or ".join(dict.fromkeys(("weight", *codec.fields[:1])))
            raise PointError(
                f"expected {slot.name} ({kinds}) in {files.folder}, it is missing; is it the same model, and complete?"
            )
        if files.shape(stored) != slot.shape:
            raise PointError(
                f"expected shape {slot.shape} in {slot.name}, {files.folder} has {files.shape(stored)}; "
                "name the checkpoint that was quantized"
            )
        if files.dtype(stored) not in FLOATS:
            raise PointError(
                f"expected {slot.name} as {', '.join(FLOATS)} in {files.folder}, got {files.dtype(stored)} "
                f"without {codec.fields[0] if codec.fields else 'a quantization_config'}"
            )


def _check_outside(files: TensorFiles, stored: str, model: PreTrainedModel) -> None:
    """A tensor outside the space is the model's own, or is one that transformers would not read either."""
    state = model.state_dict()
    name = _resolver(model)(stored)
    if name not in state:
        if unused(model, [name], lambda _: files.read(stored)):
            raise PointError(
                f"expected only tensors of {type(model).__name__} in {files.folder}, found {stored}; "
                "the weights inside the decoder blocks alone are not that model"
            )
        return
    check_same(name, state[name], files.read(stored), files.folder)
