"""The names of the package can be replaced, as tests of other programs do, and are then its own again."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from unittest import mock

import pytest

import landscape

NAMES = ("quantize", "probe", "measure_radius")


@pytest.mark.parametrize("name", NAMES)
def test_a_verb_can_be_replaced_for_a_while(name: str) -> None:
    own = getattr(landscape, name)
    with mock.patch.object(landscape, name, len):
        assert getattr(landscape, name) is len
        with mock.patch.object(landscape, name, None):
            assert getattr(landscape, name) is None
        assert getattr(landscape, name) is len
    assert getattr(landscape, name) is own


@pytest.mark.parametrize("name", NAMES)
def test_a_verb_can_be_replaced_for_good(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landscape, name, getattr(landscape, name))  # so that it is there again after the test
    setattr(landscape, name, len)
    assert getattr(landscape, name) is len
    delattr(landscape, name)
    assert getattr(landscape, name) is not len
    with pytest.raises(AttributeError, match=name):
        delattr(landscape, name)
    setattr(landscape, name, len)  # which is what monkeypatch takes away


def test_the_import_of_the_module_hides_neither_the_verb_nor_what_replaced_it() -> None:
    module = import_module("landscape.quantize")
    assert landscape.quantize is module.quantize
    code = (
        "import landscape; landscape.quantize = len; import landscape.quantize; assert landscape.quantize is len; "
        "del landscape.quantize; assert landscape.quantize.__module__ == 'landscape.quantize'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
