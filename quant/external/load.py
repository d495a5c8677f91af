"""Load points that other tools made, dequantized into the weight space of a checkpoint.

A point is a GGUF file or a folder of safetensors: plain floats, GPTQ, AWQ (``gemm``), AutoRound, compressed-tensors
(integers, FP8, NVFP4, MXFP4), and FP8 of other tools. The folder's ``config.json``, or in older ones a file beside it,
names the format. Nothing is ever unpickled, and no code of a folder is run.

A point is a vector of weights inside the decoder blocks. The rest of the model (embeddings, norms, biases, head) stays
the checkpoint's own when the loss is measured. A tool that changed it too has made another function, which no vector of
the space represents. Every stored tensor outside the space is therefore compared, and a difference beyond the rounding
of its dtype is an error, with two exceptions. Scales that were folded into norms and biases, as AWQ and SmoothQuant do,
are put back into the matrices (``quant.external.unfolding``). Where the embedding or the head is itself quantized, its
rounding is recorded in the provenance, and the point is the decoder stack with the checkpoint's own. Activations that a
format would quantize at run time are not weights, and not part of the point.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from quant.checkpoints.checkpoint import Checkpoint
from quant.checkpoints.stored_tensors import unused
from quant.errors import PointError, UsageError
from quant.external.excluded import rounded_experts, with_excluded_experts
from quant.external.experts import Piece, assembled, stored_names, stored_pieces
from quant.external.formats import check_coordinates, check_readable, find_codec
from quant.external.gauge import Gauge, check_gauge
from quant.external.gguf import from_gguf
from quant.external.layers import FLOATS, Codec, Plain, StoredLayer, decoded, is_packed
from quant.external.outside import check_architecture, check_function, check_same, provenance, rounding
from quant.external.settings import quantization_config
from quant.external.tensor_files import TensorFiles, read_json
from quant.external.unfolding import Unfolding, find_unfolding
from quant.files.user_path import of_windows, user_path
from quant.point import PointTensor, WeightPoint
from quant.space import Slot, WeightSpace

_CACHE = ("k_scale", "v_scale", "q_scale", "prob_scale", "k_zero_point", "v_zero_point")
_RUN_TIME = (
    "input_scale", "input_zero_point", "input_global_scale", "input_scale_ub", "input_g_idx", "output_scale",
    "output_zero_point", "activation_scale", *_CACHE,
)  # fmt: skip


def load_external(
    path: Path, checkpoint: Checkpoint, name: str, gauge: Gauge = "nearest", cache: Path | None = None
) -> WeightPoint:
    """Load the point that another tool made of the same model.

    Args:
        path: A ``.gguf`` file, or a folder with ``config.json`` and safetensors.
        checkpoint: The model that was quantized, at its own weights; only read.
        name: Name for the point: letters, digits and ``. _ + -``.
        gauge: The coordinates of matrices between which scales can move without changing the function, if the tool
            folded scales: ``nearest`` to the original, or as ``stored``. See ``quant.external.unfolding``.
        cache: Folder in which the conversion of a GGUF file is kept; the toolkit's cache folder if None.

    Returns:
        Point ``name`` on no grid; its float32 parts are read from the folder on demand, those of a GGUF file are in
        memory. Its provenance has the format, the sha256 of every file, the quantization config, the unfolded scales,
        and how far a quantized embedding or head is from the checkpoint's.

    Raises:
        UsageError: if ``name`` has other characters, ``gauge`` is unknown, or ``path`` is no such folder or file.
        PointError: if the format is not supported, or the point is of another architecture, incomplete, or differs
            outside the weight space. Damage inside a tensor is found when its part is read.
        CheckpointError: if a GGUF file cannot be read.
    """
    if not re.fullmatch(r"[\w.+-]+", name):
        raise UsageError(f"expected a name of letters, digits and . _ + -, got {name!r}")
    check_gauge(gauge)
    path = user_path(path, "--point")
    if (path / "config.json").is_file():
        return _from_folder(path, checkpoint, name, gauge)
    if path.is_file() and path.suffix == ".gguf":
        return from_gguf(path, checkpoint, name, cache)
    if not path.exists() and (windows := of_windows(str(path))):
        raise UsageError(f"expected a folder or a .gguf file as --point, got {path}: {windows}")
    found = "a folder without it" if path.is_dir() else "another file" if path.exists() else "nothing"
    raise UsageError(f"expected a folder with config.json and safetensors, or a .gguf file, at {path}, found {found}")


def _from_folder(folder: Path, checkpoint: Checkpoint, name: str, gauge: Gauge) -> WeightPoint:
    config = read_json(folder / "config.json")
    check_architecture(folder, str(config.get("model_type")), checkpoint)
    check_coordinates(config)
    quantization = quantization_config(folder, config)
    codec = find_codec(quantization)
    files = TensorFiles(folder)
    if isinstance(codec, Plain):
        check_readable(list(files), [path.name for path in folder.iterdir()])
    prefix = f"{checkpoint.model.base_model_prefix}."
    plain = [stored.removesuffix(f"_{mark}") for stored in files for mark in ("", *codec.marks)]
    present = {name for stored in plain for name in (stored, prefix + stored, stored.removeprefix(prefix))}
    space = with_excluded_experts(checkpoint)
    pieces = stored_pieces(checkpoint.model, space, present)
    resolve = _resolver(checkpoint.model, pieces)
    layers, outside = _sort(files, resolve, pieces, codec)
    _check_layers(files, pieces, layers, codec)
    _check_stacks(files, checkpoint.model, space, pieces, layers, codec)
    rounded, outside = _rounded_outside(files, outside, checkpoint.model, codec, resolve)
    parts = partial(_FolderParts, checkpoint.space, pieces, layers, codec, files)
    unfolding = _unfolding(files, outside, checkpoint, parts(), gauge, resolve)
    for stored in outside:
        if resolve(stored) not in unfolding.explained:
            _check_outside(files, stored, checkpoint.model, resolve)
    every = _FolderParts(space, pieces, layers, codec, files)
    packed = {name for name, each in pieces.items() if any(is_packed(layers[p.slot.name].names, codec) for p in each)}
    rounded |= rounded_experts(checkpoint, space, every, packed.__contains__, folder)
    check_function(folder, config, checkpoint)
    record = provenance(name, folder, codec.name, files.hashes(), quantization, unfolding.record, rounded)
    return WeightPoint(name, None, parts(unfolding), record)


_Pieces = Mapping[str, tuple[Piece, ...]]
_Resolve = Callable[[str], str]


class _FolderParts(Mapping[str, PointTensor]):
    """The parts of a folder; the tensors of one layer are read and dequantized at a time."""

    def __init__(
        self,
        space: WeightSpace,
        pieces: _Pieces,
        layers: Mapping[str, StoredLayer],
        codec: Codec,
        files: TensorFiles,
        unfolding: Unfolding | None = None,
    ) -> None:
        self._slots = {slot.name: slot for slot in space}
        self._pieces, self._layers, self._codec, self._files = pieces, layers, codec, files
        self._unfolding = unfolding or Unfolding()

    def __getitem__(self, name: str) -> PointTensor:
        slot = self._slots[name]
        try:
            whole = assembled(slot, {piece: self._decoded(piece) for piece in self._pieces[name]})
            weight = self._unfolding.apply(slot, whole)
        except PointError as error:
            raise PointError(f"{name} in {self._files.folder}: {error}") from error
        if not bool(torch.isfinite(weight).all()):
            raise PointError(f"expected finite weights in {name} of {self._files.folder}, found inf or nan")
        return weight

    def _decoded(self, piece: Piece) -> Tensor:
        layer = self._layers[piece.slot.name]
        if piece.index is None:
            return decoded(layer, piece.slot, self._codec)
        if is_packed(layer.names, self._codec):
            alone = StoredLayer(layer.names, partial(self._files.read_index, index=piece.index))
            return decoded(alone, piece.slot, self._codec)
        return self._files.read_matrix(layer.names["weight"], piece.index, piece.slot.shape).float()

    def __iter__(self) -> Iterator[str]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._slots)


def _sort(
    files: TensorFiles, resolve: _Resolve, pieces: _Pieces, codec: Codec
) -> tuple[dict[str, StoredLayer], list[str]]:
    """Return the stored tensors of each piece by its name, and the names of tensors that belong to none."""
    fields: dict[str, dict[str, str]] = {piece.slot.name: {} for each in pieces.values() for piece in each}
    outside = []
    seen: dict[str, str] = {}
    for stored in files:
        module, _, field = stored.rpartition(".")
        owner = resolve(f"{module}.weight")
        if owner not in fields:  # a stack of experts has its field after an underscore, or none
            owner, field = _stack_field(resolve, stored, codec, fields) or (owner, field)
        name = resolve(stored) if field == "weight" or owner not in fields else f"{owner}.{field}"
        if name in seen:
            raise PointError(f"expected one {name} in {files.folder}, found it as {seen[name]} and as {stored}")
        seen[name] = stored
        if owner in fields and field in ("weight", *codec.fields):
            fields[owner][field] = stored
        elif not (field in _CACHE or (owner in fields and field in _RUN_TIME)):
            outside.append(stored)
    return {slot: StoredLayer(names, files.read) for slot, names in fields.items()}, outside


def _stack_field(resolve: _Resolve, stored: str, codec: Codec, fields: Mapping[str, object]) -> tuple[str, str] | None:
    """Return the stack that a tensor belongs to, and its field: the stack itself, or ``…gate_up_proj_blocks``."""
    for ending, field in (("", "weight"), *((f"_{field}", field) for field in codec.fields)):
        if stored.endswith(ending) and resolve(stored.removesuffix(ending)) in fields:
            return resolve(stored.removesuffix(ending)), field
    return None


def _rounded_outside(
    files: TensorFiles, outside: list[str], model: PreTrainedModel, codec: Codec, resolve: _Resolve
) -> tuple[dict[str, float], list[str]]:
    """Return how far each quantized matrix outside the space is from the model's, and the tensors left."""
    state = model.state_dict()
    modules: dict[str, dict[str, str]] = {}
    for stored in outside:
        module, _, field = stored.rpartition(".")
        modules.setdefault(module, {})[field] = stored
    distances, left = {}, list(outside)
    for module, names in modules.items():
        name = resolve(f"{module}.weight")
        if not is_packed(names, codec) or name not in state or state[name].ndim != 2:
            continue
        mine = {field: stored for field, stored in names.items() if field in ("weight", *codec.fields)}
        rows, columns = state[name].shape
        slot = Slot(name, (rows, columns), False, -1, 0)
        try:
            weight = decoded(StoredLayer(mine, files.read), slot, codec)
        except PointError as error:
            raise PointError(f"{name} in {files.folder}: {error}") from error
        distances[name] = rounding(name, state[name], weight, files.folder)
        taken = {*mine.values(), *(stored for field, stored in names.items() if field in _RUN_TIME)}
        left = [stored for stored in left if stored not in taken]
    return distances, left


def _unfolding(
    files: TensorFiles,
    outside: list[str],
    checkpoint: Checkpoint,
    parts: Mapping[str, PointTensor],
    gauge: Gauge,
    resolve: _Resolve,
) -> Unfolding:
    """Find what was folded into the tensors outside the space."""

    def weight(slot: Slot) -> Tensor:
        part = parts[slot.name]
        assert isinstance(part, Tensor)
        return part

    stored = {resolve(name): partial(files.read, name) for name in outside}
    return find_unfolding(checkpoint, files.folder, stored, weight, gauge)


def _resolver(model: PreTrainedModel, pieces: _Pieces) -> _Resolve:
    """Return the function from a stored name to the model's name, or a piece's.

    The base model's prefix may be there or be missing, and tensors may have the names under which transformers stores
    them.
    """
    prefix, renamed = f"{model.base_model_prefix}.", stored_names(model, pieces)
    known = {*model.state_dict(), *renamed, *(piece.slot.name for each in pieces.values() for piece in each)}

    def resolve(name: str) -> str:
        found = with_prefix(name)
        return renamed.get(found, found)

    def with_prefix(name: str) -> str:
        if name.startswith(prefix) and name.removeprefix(prefix) in known:
            return name.removeprefix(prefix)
        return prefix + name if prefix + name in known else name

    return resolve


def _check_layers(files: TensorFiles, pieces: _Pieces, layers: Mapping[str, StoredLayer], codec: Codec) -> None:
    """Check that every piece has its tensors, and plain ones are floats of its shape; codecs check packed ones."""
    for piece in (piece for each in pieces.values() for piece in each):
        slot, layer = piece.slot, layers[piece.slot.name]
        if is_packed(layer.names, codec):
            continue
        stored = layer.names.get("weight")
        if stored is None:
            kinds = " or ".join(dict.fromkeys(("weight", *codec.marks[:1])))
            raise PointError(
                f"expected {slot.name} ({kinds}) in {files.folder}, it is missing; is it the same model, and complete?"
            )
        shape = files.shape(stored)
        if (shape if piece.index is None else shape[-2:]) != slot.shape and not _below(shape, piece):
            raise PointError(
                f"expected shape {slot.shape} in {slot.name}, {files.folder} has {shape}; "
                "name the checkpoint that was quantized"
            )
        if files.dtype(stored) not in FLOATS:
            raise PointError(
                f"expected {slot.name} as {', '.join(FLOATS)} in {files.folder}, got {files.dtype(stored)} "
                f"without {codec.marks[0] if codec.marks else 'a quantization_config'}"
            )


def _check_stacks(
    files: TensorFiles,
    model: PreTrainedModel,
    space: WeightSpace,
    pieces: _Pieces,
    layers: Mapping[str, StoredLayer],
    codec: Codec,
) -> None:
    """Check that every stored stack has as many matrices as the model's: with more experts it is another model."""
    for slot in space:
        for piece in pieces[slot.name] if slot.stack else ():
            if piece.index is None:
                continue
            count, names = (
                model.get_parameter(slot.parameter).numel() // slot.size,
                layers[piece.slot.name].names,
            )
            packed = is_packed(names, codec)
            for stored in names.values():
                shape = files.shape(stored)
                found = shape[0] if packed else math.prod(shape) // math.prod(piece.slot.shape)
                if found != count:
                    raise PointError(
                        f"expected {count} matrices in {stored}, {files.folder} has {found}; "
                        "name the checkpoint that was quantized"
                    )


def _below(shape: tuple[int, ...], piece: Piece) -> bool:
    """Return whether a stored matrix holds the piece and others one below the other, as in DBRX's experts."""
    rows, columns = piece.slot.shape
    return piece.index is not None and len(shape) == 2 and shape[1] == columns and shape[0] % rows == 0


def _check_outside(files: TensorFiles, stored: str, model: PreTrainedModel, resolve: _Resolve) -> None:
    """Check that a tensor outside the space is the model's own, or one that transformers would not read either."""
    state = model.state_dict()
    name = resolve(stored)
    if name not in state:
        if unused(model, [name], lambda _: files.read(stored)):
            raise PointError(
                f"expected only tensors of {type(model).__name__} in {files.folder}, found {stored}; "
                "the weights inside the decoder blocks alone are not that model"
            )
        return
    check_same(name, state[name], files.read(stored), files.folder)
