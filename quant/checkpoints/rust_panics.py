"""Turn a panic of a library in Rust, such as tokenizers, into an error that is handled like any other.

PyO3 raises it as a ``BaseException``, so that it passes all that handles errors, and its class cannot be imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from quant.errors import CheckpointError, first_line, is_panic


class PanicError(RuntimeError):
    """A library in Rust gave up."""


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """Turn a panic in the block into a ``PanicError`` with its words.

    Raises:
        PanicError: A library panicked.
    """
    try:
        yield
    except BaseException as error:
        if is_panic(error):
            raise PanicError(first_line(error)) from error
        raise


@contextmanager
def tokenizer_in_use(source: str) -> Iterator[None]:
    """Cut texts with a tokenizer that may be damaged in ways that show in its use alone.

    Args:
        source: The model that it belongs to.

    Raises:
        CheckpointError: It panicked.
    """
    try:
        with panics_as_errors():
            yield
    except PanicError as error:
        raise CheckpointError(
            f"expected a tokenizer that cuts texts in {source}, got a panic of its library: {error}; fetch its files "
            "again"
        ) from error
