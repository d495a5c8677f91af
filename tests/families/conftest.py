"""Each class of checks is run on the families of its kind, one family after the other."""

from __future__ import annotations

import pytest

from tests.families import FAMILIES
from tests.families.checks import Subject


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    kind = getattr(metafunc.cls, "kind", None)
    if kind is None:
        return
    fixture = "measured" if "measured" in metafunc.fixturenames else "subject"
    rows = [f for f in FAMILIES.values() if f.kind == kind and not (f.refusal and fixture == "measured")]
    marked = [pytest.param(f.name, id=f.name, marks=[pytest.mark.slow] if f.slow else []) for f in rows]
    metafunc.parametrize("family_name", marked, scope="session")


@pytest.fixture(scope="session")
def _subjects() -> dict[str, Subject]:
    return {}


@pytest.fixture
def subject(family_name: str, _subjects: dict[str, Subject]) -> Subject:
    """A family with its model, trained once in each process."""
    return _subjects.setdefault(family_name, Subject(FAMILIES[family_name]))


@pytest.fixture
def measured(subject: Subject) -> Subject:
    """A family that is not refused."""
    return subject
