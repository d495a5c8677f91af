"""Name the function through which a method reports its progress."""

from __future__ import annotations

from collections.abc import Callable

ProgressCallback = Callable[[int, int], None]
"""Called with the steps done and the steps in all; a step is a decoder block, or in training an update."""
