"""The number of threads, frozen with the store: sums depend on it in their last bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from landscape.store import Store


@contextmanager
def frozen_threads(store: Store) -> Iterator[None]:
    """Use the number of threads that the store was begun with."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(store.settings({"threads": before})["threads"]))
    try:
        yield
    finally:
        torch.set_num_threads(before)
