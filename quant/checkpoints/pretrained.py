"""Load models and tokenizers through transformers, account for every weight, and run or fetch nothing.

Before transformers sees a folder, its files are checked, and requests of its configuration to the loader are undone.
Afterwards every weight of the model must have come from the files, and every tensor of the files gone into the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from quant.checkpoints.configuration import read_configuration
from quant.checkpoints.device import find_dtype
from quant.checkpoints.gguf_file import GGUFFile
from quant.checkpoints.implementations import choose_implementations
from quant.checkpoints.reading import reading
from quant.checkpoints.stated_sizes import Stored, check_configuration, check_outline
from quant.checkpoints.stored_tensors import refusal, unused
from quant.checkpoints.tokenizer_files import check_tokenizer_files, check_vocabulary
from quant.checkpoints.weight_files import check_companions, weight_files
from quant.errors import CheckpointError, UsageError
from quant.files.odd_files import is_odd, odd_kind
from quant.memory import SMALLER, MemoryNeed, check_room
from quant.printable import printable

_READ = ("config.json", "generation_config.json", "*token*.json", "vocab*", "merges.txt", "*.model")
"""Files beside the weights that transformers reads."""
_FLOATS = ("F64", "F32", "F16", "BF16")
DeviceMap = str | Mapping[str, Any] | None
_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def read_folder(folder: Path, dtype: str, device_map: DeviceMap = None) -> tuple[PreTrainedModel, Tokenizer]:
    """Read a folder of safetensors.

    Args:
        folder: The folder.
        dtype: Dtype of the weights, or ``auto``.
        device_map: Map of modules to devices as accelerate takes it; None for the host.

    Raises:
        UsageError: if there is no model in it, or it cannot fit in memory.
        CheckpointError: if it cannot be read, is not a causal language model, or leaves out a part of the folder.
    """
    stored = _check_folder(folder)
    check_configuration(folder / "config.json", Stored.of(tensor.shape for tensor in stored.values()))
    read_configuration(folder)
    with reading(folder):
        config = AutoConfig.from_pretrained(folder, **_LOCAL)
    check_tokenizer_files(folder)
    named = set(config.architectures or ())
    if named and not named & set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()):
        found = printable(", ".join(sorted(map(str, named))))
        raise CheckpointError(f"expected a causal language model in {folder}, got {found}")
    choose_implementations(config, folder)
    own, count = find_dtype(dtype, config), sum(tensor.count for tensor in stored.values())
    if device_map is None:
        _check_room(count, own, folder)
    with reading(folder):
        check_outline(config, count, folder)
    model, tokenizer, dropped = _load(folder, config, own, device_map=device_map, use_safetensors=True)
    places = {name: _raw(model, name, stored) for name in dropped}
    if names := unused(model, dropped, lambda name: _values(stored[places[name]].file, places[name])):
        raise CheckpointError(refusal(model, names, folder))
    _check_floats(folder, model, {name: found for name, found in stored.items() if name not in places.values()})
    _check_names(folder, model, stored)
    return model, tokenizer


def read_gguf(file: Path, dtype: str, device_map: DeviceMap = None) -> tuple[PreTrainedModel, Tokenizer]:
    """Read a GGUF file, dequantized, as a plain model that can be trained and saved.

    Args:
        file: The file.
        dtype: Dtype of the weights, or ``auto``.
        device_map: Map of modules to devices as accelerate takes it; None for the host.

    Raises:
        UsageError: if it cannot fit in memory.
        CheckpointError: if it cannot be read, or transformers leaves a part of it out of the model.
    """
    check_companions(file.parent, [path.name for path in file.parent.iterdir()], CheckpointError)
    where: dict[str, Any] = {"gguf_file": file.name}
    with reading(file):
        content = GGUFFile(file)
        content.check_sizes()
        config = AutoConfig.from_pretrained(file.parent, **_LOCAL, **where)
    choose_implementations(config, file)
    content.complete(config)
    packs = getattr(transformers, "GgufConfig", None)  # newer releases would keep the blocks packed where they can
    if packs:
        where["quantization_config"] = packs(dequantize=True)
    own = find_dtype(dtype, config)
    _check_room(content.weights, own, file)
    with reading(file):
        check_outline(config, content.weights, file)
    model, tokenizer, dropped = _load(file.parent, config, own, file.name, device_map=device_map, **where)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    if names := unused(model, dropped | content.dropped(model), _nothing_known):
        raise CheckpointError(refusal(model, names, file))
    content.check(model.config)
    return model, tokenizer


def _check_room(count: int, dtype: torch.dtype, source: Path) -> None:
    """Check that the weights of a model fit in host memory, before they are read."""
    weights = {f"weights in {str(dtype).removeprefix('torch.')}": count * dtype.itemsize}
    check_room(MemoryNeed(weights, {}), [], f"the model in {source}", SMALLER)


@dataclass(frozen=True)
class _Stored:
    """The place and kind of a stored tensor, without its values."""

    file: Path
    dtype: str
    """Dtype as the format writes it, ``F16``."""
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of its values."""
        return math.prod(self.shape)


def _check_floats(folder: Path, model: PreTrainedModel, taken: Mapping[str, _Stored]) -> None:
    """Check that no weight was made from integers or eight-bit floats, whose scales would be missing."""
    integers = {name for name, tensor in model.state_dict().items() if not tensor.is_floating_point()}
    for name, found in sorted(taken.items()):
        counts = found.dtype == "BOOL" or len(found.shape) < 2  # masks, positions
        if found.dtype not in _FLOATS and not (counts and _raw(model, name, integers) in integers):
            raise CheckpointError(
                f"expected floats of 16 bits or more in {folder}, got {printable(name)} as {found.dtype}, which are "
                "quantized weights, or none at all; name the original model"
            )


def _check_names(folder: Path, model: PreTrainedModel, stored: Iterable[str]) -> None:
    """Check that no tensor is stored both with and without the base model's prefix: only one would be taken."""
    prefix, own, names = f"{model.base_model_prefix}.", model.state_dict().keys(), set(stored)
    for name in sorted(names):
        if prefix + name in names and not {name, prefix + name} <= own:
            raise CheckpointError(
                f"expected each tensor once in {folder}, found {printable(name)} and {printable(prefix + name)}, "
                "which are one weight of the model; leave one of them out"
            )


def _check_folder(folder: Path) -> dict[str, _Stored]:
    """Check that a folder has a configuration and weights; return the stored tensors by name."""
    with reading(folder):
        names = {path.name for path in folder.iterdir()}
    if "config.json" not in names:
        ggufs = sorted(name for name in names if name.endswith(".gguf"))
        advice = f"give the file itself, {folder / ggufs[0]}" if ggufs else "save a model there with `save_pretrained`"
        raise UsageError(f"expected config.json and model.safetensors in {folder}, found no config.json; {advice}")
    check_companions(folder, names, CheckpointError)
    for name in sorted(name for name in names if any(fnmatch(name, pattern) for pattern in _READ)):
        with reading(folder / name):  # transformers takes one that it may not read for one that is missing
            _check_readable(folder / name)
    stored: dict[str, _Stored] = {}
    for name in weight_files(folder, CheckpointError):
        with reading(folder / name):
            _check_readable(folder / name)  # safetensors says of a file that it may not read that there is none
        with reading(folder / name), safe_open(folder / name, framework="pt") as file:  # type: ignore[no-untyped-call]
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118  the file is no mapping
            found = {
                key: _Stored(folder / name, str(each.get_dtype()), tuple(each.get_shape()))
                for key, each in slices.items()
            }
        for tensor in found:
            if tensor in stored:
                raise CheckpointError(
                    f"expected one {printable(tensor)} in {folder}, found it in {stored[tensor].file.name} and {name}"
                )
            stored[tensor] = found[tensor]
    return stored


def _load(
    folder: Path, config: PreTrainedConfig, dtype: torch.dtype, file: str = "", **options: Any
) -> tuple[PreTrainedModel, Tokenizer, set[str]]:
    """Load model and tokenizer, and check that every weight came from the files; return also the dropped names."""
    gguf = {key: value for key, value in options.items() if key == "gguf_file"}
    with reading(folder / file), _without_bars(), _unfiltered() as found:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, **_LOCAL,
            **options,
        )  # fmt: skip
        tokenizer = AutoTokenizer.from_pretrained(folder, **_LOCAL, **gguf)
    _check_shapes(info.get("mismatched_keys") or (), folder / file)
    check_vocabulary(tokenizer, folder / file)
    missing = sorted(info["missing_keys"])
    if missing:
        raise CheckpointError(
            f"expected all weights of {type(model).__name__} in {folder / file}, {len(missing)} are missing: "
            f"{printable(missing[0])}, …"
        )
    return model, tokenizer, found | set(info["unexpected_keys"])


def _check_shapes(mismatched: Iterable[Any], source: Path) -> None:
    """Check that every stored tensor has the shape that the configuration gives it.

    Args:
        mismatched: Triples of a name, the stored shape and the model's, as transformers lists them.
        source: The file or folder, for the message.
    """
    for name, stored, own in sorted(mismatched, key=str):
        raise CheckpointError(
            f"expected {printable(str(name))} of shape {list(own)} in {source}, as its configuration says, found "
            f"{list(stored)}; give the configuration that belongs to the weights"
        )


@contextmanager
def _unfiltered() -> Iterator[set[str]]:
    """Gather the tensors that a model does not take, before transformers hides those that its classes ignore."""
    found: set[str] = set()
    name = "_adjust_missing_and_unexpected_keys"
    original: Callable[..., Any] | None = getattr(PreTrainedModel, name, None)
    if original is None:
        yield found
        return

    def gathering(model: PreTrainedModel, *args: Any, **options: Any) -> Any:
        for each in (*args, *options.values()):
            found.update(getattr(each, "unexpected_keys", ()))
        return original(model, *args, **options)

    setattr(PreTrainedModel, name, gathering)
    try:
        yield found
    finally:
        setattr(PreTrainedModel, name, original)


@contextmanager
def _without_bars() -> Iterator[None]:
    """Keep the progress bar of transformers' older GGUF reader off the terminal; ``quiet`` does not reach it."""
    from transformers import modeling_gguf_pytorch_utils as reader

    original: Callable[..., Any] | None = getattr(reader, "tqdm", None)
    if original is None:
        yield
        return
    reader.tqdm = lambda tensors, **options: tensors
    try:
        yield
    finally:
        reader.tqdm = original


def _raw(model: PreTrainedModel, name: str, stored: Container[str]) -> str:
    """Return the stored name of the tensor that the model calls ``name``; the base model's prefix may be missing."""
    prefix = f"{model.base_model_prefix}."
    return next((n for n in (name, prefix + name, name.removeprefix(prefix)) if n in stored), name)


def _check_readable(path: Path) -> None:
    """Open a file, unless it is a folder, which transformers refuses in words of its own."""
    if is_odd(path) and not path.is_dir():  # a reader would wait for a pipe, and read a device without end
        raise CheckpointError(f"expected a file at {path}, found {odd_kind(path)}; put the model's own file there")
    if path.is_file():
        path.open("rb").close()


def _values(path: Path, name: str) -> Tensor:
    with safe_open(path, framework="pt") as file:  # type: ignore[no-untyped-call]
        tensor: Tensor = file.get_tensor(name)
    return tensor


def _nothing_known(name: str) -> Tensor:
    raise KeyError(name)
