"""Define the place of a weight matrix in the weight space, without torch: records of runs hold these."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Slot:
    """The place of one weight matrix in the space."""

    name: str
    """Name of the parameter, ``model.layers.0.mlp.up_proj.weight``, or with the index of an expert,
    ``model.layers.0.mlp.experts.3.down_proj``."""
    shape: tuple[int, int]
    """Shape as stored."""
    transposed: bool
    """Whether it is stored (in, out), as GPT-2's ``Conv1D`` does, rather than (out, in)."""
    block: int
    """Index of its decoder block."""
    offset: int
    """Index of its first coordinate in the flat order."""
    stack: str | None = None
    """Name of the parameter that holds it together with others; None if it is a whole parameter."""
    index: int = 0
    """Index of the matrix in the stack."""

    @property
    def parameter(self) -> str:
        """Name of the parameter that holds it."""
        return self.stack or self.name

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.shape[0] * self.shape[1]

    @property
    def inputs(self) -> int:
        """Number of inputs of the matrix."""
        return self.shape[self.input_dim]

    @property
    def input_dim(self) -> int:
        """The stored axis that runs over input features."""
        return 0 if self.transposed else 1

    @property
    def expert(self) -> bool:
        """Whether it belongs to an expert, which sees only the tokens that are routed to it."""
        return self.stack is not None or re.search(r"(^|\.)experts\.\d+\.", self.name) is not None

    @property
    def siblings(self) -> str:
        """Name of the parameter or list that holds this matrix for all experts of the layer."""
        return self.stack or re.sub(r"(^|\.)experts\.\d+\.", r"\1experts.*.", self.name)

    def slice(self, parameter: Tensor) -> Tensor:
        """Return the view of its matrix in a tensor that is shaped like its parameter."""
        return parameter if self.stack is None else parameter.view(-1, *self.shape)[self.index]
