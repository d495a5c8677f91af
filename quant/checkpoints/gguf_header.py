"""Check the counts and lengths in the header of a GGUF file before a library takes them for true.

The reader of ``gguf`` makes a Python object of each entry of an array, and goes on behind the end of the file: eight
bytes that state an array of 2^60 numbers keep it busy for years, in all the memory that there is.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from quant.errors import CheckpointError

_MAGIC = b"GGUF"
_START = 24  # bytes of the magic, the version and the two counts
_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a number by its type."""
_STRING, _ARRAY = 8, 9
_LEAST_ENTRY, _LEAST_TENSOR = 13, 24
"""Fewest bytes of an entry of the metadata, and of the description of a tensor."""
_DEEPEST = 4  # arrays inside each other; files in use have none
_MOST, _TEXTS = 2**22, 2**20
"""Array entries of a file in all, and those that are texts, each of which takes the reader 27 µs and 1.5 kB; the most
in use, a vocabulary and its merges, are 0.8 million texts."""
_ENTRIES, _TENSORS = 2**14, 2**17
"""Entries of metadata and tensors; the largest in use have a hundred and some thousands."""
_DIMENSIONS = 8  # of a tensor; the format has four


def check_header(path: Path) -> None:
    """Check that all counts and lengths of a header lie within the file.

    A file that is not GGUF at all is left to the reader.

    Raises:
        CheckpointError: if one does not.
        OSError: if the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return
        if size < _START:
            raise CheckpointError(f"expected a GGUF file of at least {_START} bytes in {path}, got {size}; {_REMEDY}")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            _Walk(path, content).run()


_REMEDY = "fetch the file again, or make it again with its tool"


class _Walk:
    """A place in a header that moves forward, never behind the end of the file."""

    def __init__(self, path: Path, content: mmap.mmap) -> None:
        self.path, self.content, self.size = path, content, len(content)
        (version,) = struct.unpack_from("<I", content, len(_MAGIC))
        self.order = "<" if version & 0xFFFF else ">"
        self.place, self.entries, self.texts = 8, 0, 0

    def run(self) -> None:
        """Walk through the whole header."""
        tensors, entries = self.number(8), self.number(8)
        self.count("entries of metadata", entries, _LEAST_ENTRY, _ENTRIES)
        for _ in range(entries):
            self.skip("a name", self.number(8))
            self.value(self.number(4), 0)
        self.count("tensors", tensors, _LEAST_TENSOR, _TENSORS)
        for _ in range(tensors):
            self.skip("the name of a tensor", self.number(8))
            dimensions = self.number(4)
            if dimensions > _DIMENSIONS:
                raise self.error(f"a tensor of at most {_DIMENSIONS} dimensions", f"{dimensions}")
            self.skip("the shape, type and place of a tensor", 8 * dimensions + 4 + 8)

    def value(self, kind: int, depth: int) -> None:
        """Walk over a value of the metadata."""
        if kind == _STRING:
            self.skip("a text", self.number(8))
        elif kind == _ARRAY:
            self.array(depth)
        elif kind in _SCALARS:
            self.skip("a number", _SCALARS[kind])
        else:
            raise self.error("a type of GGUF", f"type {kind}")

    def array(self, depth: int) -> None:
        """Walk over the entries of an array."""
        kind, count = self.number(4), self.number(8)
        self.count("entries of an array", count, _SCALARS.get(kind, 8))
        self.entries += count
        self.texts += 0 if kind in _SCALARS else count
        if self.entries > _MOST or self.texts > _TEXTS or depth >= _DEEPEST:
            raise self.error(
                f"arrays of at most {_MOST} entries in all, {_TEXTS} of them texts, {_DEEPEST} deep", "more"
            )
        if kind in _SCALARS:
            self.skip("an array", _SCALARS[kind] * count)
        else:
            for _ in range(count):
                self.value(kind, depth + 1)

    def number(self, size: int) -> int:
        """Read a whole number without a sign."""
        start = self.place
        self.skip("a number", size)
        return int(struct.unpack_from(self.order + {4: "I", 8: "Q"}[size], self.content, start)[0])

    def count(self, what: str, count: int, least: int, most: int = _MOST) -> None:
        """Check that so many things, each of at least so many bytes, can follow, and are not more than any file has."""
        if count > most:
            raise self.error(f"at most {most} {what}", f"{count}")
        if count * least > self.size - self.place:
            raise self.error(f"at most {(self.size - self.place) // least} {what}, for which there is room", f"{count}")

    def skip(self, what: str, size: int) -> None:
        """Go on by so many bytes."""
        if size > self.size - self.place:
            raise self.error(f"{what} within the {self.size} bytes of the file", f"{size} bytes from {self.place} on")
        self.place += size

    def error(self, expected: str, found: str) -> CheckpointError:
        """Return the error that names what was expected and what was found."""
        return CheckpointError(f"expected {expected} in the header of {self.path}, got {found}; {_REMEDY}")
