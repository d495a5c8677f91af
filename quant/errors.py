"""Name every error that a user can cause or meet, with the exit code of the command line.

ToolkitError            1   something failed; the message is one line: expected, got, what to do
├── UsageError          2   the request cannot be met as it is written
├── CheckpointError     1   a model could not be found, fetched or read
├── CorpusError         1   a text could not be found, read or cut into windows
├── PointError          1   a weight vector does not fit its weight space
└── StoreError          1   the cache could not be read or written
"""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if it has none."""
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} = 0x{error.object[error.start]:02x}, which is not UTF-8"
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def is_panic(error: BaseException) -> bool:
    """Return whether an exception is a panic of a library in Rust, which PyO3 passes on outside of ``Exception``."""
    return type(error).__name__ == "PanicException" and not isinstance(error, Exception)


class ToolkitError(Exception):
    """Base of all errors that are reported to the user as one line."""

    exit_code = 1


class UsageError(ToolkitError):
    """The request cannot be met as written: an unknown name, a value out of range, a path without the expected file."""

    exit_code = 2


class CheckpointError(ToolkitError):
    """A model could not be found, fetched or read."""


class CorpusError(ToolkitError):
    """A text could not be found, read or cut into windows."""


class PointError(ToolkitError):
    """A weight vector does not fit the weight space."""


class StoreError(ToolkitError):
    """The probe cache could not be read or written."""
