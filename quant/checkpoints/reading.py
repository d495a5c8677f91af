"""Read with transformers: quietly, off the network, and with each of its many errors as one line."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers.utils import logging

from quant.checkpoints.configuration import damaged_json
from quant.checkpoints.implementations import offline
from quant.checkpoints.rust_panics import panics_as_errors
from quant.checkpoints.tokenizer_files import ADD_TOKENIZER
from quant.errors import CheckpointError
from quant.files.system_errors import is_forbidden, reason
from quant.printable import printable

_UNREADABLE = (
    OSError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RuntimeError, ImportError,
    AssertionError, struct.error, SafetensorError, StrictDataclassError,
)  # fmt: skip
_DAMAGED = (UnicodeDecodeError, struct.error, SafetensorError, IndexError)
_CUT_OFF = ("cannot reshape array", "When changing to a larger dtype", "Maximum allowed dimension")
"""Words of numpy on a file that is shorter than its head says."""


@contextmanager
def reading(source: Path) -> Iterator[None]:
    """Turn an error of transformers into one line, and keep it quiet and off the network meanwhile.

    Args:
        source: The file or folder that is read.

    Raises:
        CheckpointError: It cannot be read, or is no causal language model.
    """
    try:
        with quiet(), offline(), panics_as_errors():
            yield
    except Exception as error:
        if not isinstance(error, _UNREADABLE) and type(error) is not Exception:  # that one is of tokenizers
            raise
        if source.is_dir() and (damaged := damaged_json(source)):
            raise CheckpointError(damaged) from error
        words = _words(error)
        if isinstance(error, OSError) and is_forbidden(error):
            place = Path(error.filename or source)
            words = f"{place}: {reason(error, place)}"
        raise CheckpointError(f"expected a causal language model in {source}, got: {words}") from error


def _words(error: BaseException) -> str:
    """Say on one line what transformers objects to."""
    lines = [line.strip() for line in printable(str(error)).splitlines() if line.strip()] or [type(error).__name__]
    said = " ".join(lines[: 2 if lines[0].endswith(":") else 1])
    if "instantiate the backend tokenizer" in said:
        return f"no vocabulary of its tokenizer; {ADD_TOKENIZER}"
    if "trust_remote_code" in str(error):
        return "it needs Python code from its repository, which is never run"
    if "is not a valid JSON file" in said and error.__context__ is not None:  # also of a GGUF file, which has none
        return f"text that cannot be read: {_words(error.__context__)}"
    if isinstance(error, _DAMAGED) or any(words in said for words in _CUT_OFF):
        return f"{said}; the file is cut off or damaged: fetch it again"
    return f"the unknown name {said}" if isinstance(error, KeyError) else said


@contextmanager
def quiet() -> Iterator[None]:
    """Keep progress bars and advice of transformers off the terminal, and restore its settings."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")  # such a model is refused in words
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
