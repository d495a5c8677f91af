"""Words of small commands, and what may not differ between two runs of one."""

from __future__ import annotations

from typing import Any, Protocol

from tests.landscape.small import NUMBERS


class Run(Protocol):
    """Runs ``landscape`` with these words, in this process."""

    def __call__(self, *words: object) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        ...


def probe_words(tmp_path, *more):
    return ["probe", "--store", tmp_path / "store", "--output", tmp_path / "report", *NUMBERS, *more]


def stable(found: dict[str, Any]) -> dict[str, Any]:
    """What may not differ between two runs of the same command; its checks are those of one run."""
    return {
        key: value for key, value in found.items() if key not in ("seconds", "probes", "store", "page", "run", "health")
    }
