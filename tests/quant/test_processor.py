"""Check that the cores of the job are counted, not those of the machine, and that the processor has its name."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from quant import processor
from quant.processor import processor_name, usable_cores


def test_cores_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2, 5}, raising=False)
    assert usable_cores() == 3


def test_where_the_system_does_not_say_all_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert usable_cores() == 8


def test_the_processor_has_the_name_that_the_kernel_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = tmp_path / "cpuinfo"
    listing.write_text("processor\t: 0\nmodel name\t: ACME  12 Core\nprocessor\t: 1\nmodel name\t: ACME\n")
    monkeypatch.setattr(processor, "_LISTING", listing)
    assert processor_name() == "ACME 12 Core"


def test_where_the_kernel_gives_none_python_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_LISTING", tmp_path / "nothing")
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert processor_name() == "arm64"
