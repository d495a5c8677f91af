"""Read the tensors of a folder of safetensors by name, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from quant.checkpoints.weight_files import weight_files
from quant.errors import PointError, first_line
from quant.files.json_text import read_object
from quant.files.system_errors import reason
from quant.hashing import file_hash


class TensorFiles:
    """An index over one or several safetensors files, which stay open and are read on demand."""

    def __init__(self, folder: Path) -> None:
        """Open the weights of a folder: ``model.safetensors``, else the shards of its index, else every safetensors.

        Raises:
            PointError: if there are none, one cannot be read, or two of them hold a tensor of the same name.
        """
        self.folder = folder
        self._files: dict[str, Any] = {}
        self._home: dict[str, str] = {}
        for name in weight_files(folder, PointError, others=True):
            try:
                (folder / name).open("rb").close()  # safetensors says of a file that it may not read that there is none
                self._files[name] = safe_open(folder / name, framework="pt")  # type: ignore[no-untyped-call]
            except (OSError, SafetensorError) as error:
                raise PointError(
                    f"expected safetensors in {folder / name}, got: {reason(error, folder / name)}"
                ) from error
            names: list[str] = self._files[name].keys()
            for tensor in names:
                if tensor in self._home:
                    raise PointError(f"expected one {tensor} in {folder}, found it in {self._home[tensor]} and {name}")
                self._home[tensor] = name

    def __iter__(self) -> Iterator[str]:
        return iter(self._home)

    def read(self, name: str) -> Tensor:
        """Read one tensor, in the dtype it is stored in.

        Raises:
            PointError: if it cannot be read.
        """
        try:
            tensor: Tensor = self._files[self._home[name]].get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise PointError(f"expected to read {name} of {self.folder}, got: {first_line(error)}") from error
        return tensor

    def read_index(self, name: str, index: int) -> Tensor:
        """Read one entry of a tensor along its first axis, without the others.

        Raises:
            PointError: if there is no entry of this index.
        """
        if index >= self.shape(name)[0]:
            raise PointError(f"expected expert {index} in {name} of {self.folder}, it has {self.shape(name)[0]}")
        part: Tensor = self._slice(name)[index]
        return part

    def read_matrix(self, name: str, index: int, shape: tuple[int, int]) -> Tensor:
        """Read one matrix of a stack, stored (n, rows, columns) or one below the other, without the others.

        Raises:
            PointError: if it cannot be read, or there is no matrix of this index.
        """
        stored, rows = self._slice(name), shape[0]
        part = stored[index] if len(self.shape(name)) == 3 else stored[index * rows : (index + 1) * rows]
        if tuple(part.shape) != shape:
            raise PointError(f"expected matrix {index} of shape {shape} in {name} of {self.folder}, found none")
        matrix: Tensor = part
        return matrix

    def dtype(self, name: str) -> str:
        """Return a tensor's dtype as the format writes it, ``F16``, without reading its values."""
        return str(self._slice(name).get_dtype())

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape, without reading its values."""
        return tuple(self._slice(name).get_shape())

    def hashes(self) -> dict[str, str]:
        """Return the sha256 of each file."""
        return {name: file_hash(self.folder / name) for name in self._files}

    def _slice(self, name: str) -> Any:
        return self._files[self._home[name]].get_slice(name)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        PointError: if the file is missing or holds something else.
    """
    return read_object(path, PointError, nonfinite=True)  # Mamba's configurations have an infinity
