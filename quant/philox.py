"""Draw counter-based random bits, keyed by their purpose: the same on every machine and numpy version.

A bit generator's raw stream never changes between numpy versions; the methods of ``numpy.random.Generator`` may
(NEP 19). So only raw bits are used here, and no global generator.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray


def philox(*key: str | int) -> np.random.Philox:
    """Return a fresh Philox stream of its own for each key."""
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    return np.random.Philox(key=int.from_bytes(digest[:16], "little"))


def uniforms(count: int, *key: str | int) -> NDArray[np.float64]:
    """Draw ``count`` uniforms in [0, 1), multiples of 2⁻⁵³."""
    raw: NDArray[np.uint64] = philox(*key).random_raw(count)
    return np.asarray((raw >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def permutation(count: int, *key: str | int) -> NDArray[np.int64]:
    """Draw a random order of 0 … count − 1."""
    return np.argsort(philox(*key).random_raw(count), kind="stable")
