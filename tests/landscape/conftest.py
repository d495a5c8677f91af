"""The trap, saved and dissected once for all tests that look at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from landscape.anatomy.dissect import dissect
from landscape.anatomy.request import AnatomyRequest
from landscape.anatomy.result import AnatomyResult
from tests.landscape.trap import ByHand, asked, save_trap


@pytest.fixture(scope="session")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trap") / "trap"
    save_trap(path)
    return path


@pytest.fixture(scope="session")
def dissection(trap: Path, tmp_path_factory: pytest.TempPathFactory) -> AnatomyRequest:
    return asked(trap, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def dissected(dissection: AnatomyRequest) -> AnatomyResult:
    return dissect(dissection)


@pytest.fixture(scope="session")
def by_hand(trap: Path) -> ByHand:
    return ByHand(trap)
