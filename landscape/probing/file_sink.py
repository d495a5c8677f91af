"""Let HDF5 write through a file object that keeps the first error until HDF5 has closed."""

from __future__ import annotations

from collections.abc import Callable
from io import FileIO


class FileSink:
    """The file that HDF5 writes through; it holds the first error back until HDF5 has closed.

    If HDF5 cannot write the end of a file (a full disk), it leaves the file half open and crashes later.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._error: BaseException | None = None
        self.read, self.readinto, self.seek, self.tell = file.read, file.readinto, file.seek, file.tell
        self.flush = file.flush

    def write(self, data: memoryview) -> int:
        """Write all data, or nothing after the first error."""
        self._keep(lambda: self._write_all(data))
        return len(data)

    def truncate(self, size: int) -> int:
        """Set the length of the file."""
        self._keep(lambda: self._file.truncate(size))
        return size

    def check(self) -> None:
        """Raise the error that was held back."""
        if self._error is not None:
            raise self._error

    def _write_all(self, data: memoryview) -> None:
        while data:  # the system may take less at once, and 2 GB at most
            data = data[self._file.write(data) :]

    def _keep(self, step: Callable[[], object]) -> None:
        if self._error is None:
            try:
                step()
            except BaseException as error:  # an interrupt too: HDF5 must close in any case; check() raises it
                self._error = error
